//! `wsgictl` on a real httpd, with the module that `script/build` has left in `target/dist`.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy knows only #[test] functions as tests"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

const APPLICATION: &str = "\
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [(environ['SCRIPT_NAME'] + '|' + environ['PATH_INFO']).encode('latin-1')]
";

/// A folder that requests may read, whoever they run as.
fn folder() -> TempDir {
    let open = fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().permissions(open).tempdir().unwrap()
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn wsgictl(command: &str) -> Command {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/dist/mod_wsgi.so");
    assert!(module.is_file(), "{module:?} is missing: run script/build first");
    let mut wsgictl = Command::new(env!("CARGO_BIN_EXE_wsgictl"));
    wsgictl
        .arg(command)
        .arg("--module")
        .arg(module)
        .env_remove("VIRTUAL_ENV")
        .stdin(Stdio::null());
    wsgictl
}

/// A command that ends by itself: its status and what it said.
fn ended(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// A server that has said its address.
struct Server {
    child: Child,
    address: String,
    /// Of its private folders.
    temporary: TempDir,
    log: PathBuf,
}

impl Server {
    fn start(arguments: &[&str], current: &Path) -> Server {
        let temporary = folder();
        let log = temporary.path().join("log");
        let mut command = wsgictl("serve");
        command
            .args(["--port", "0"])
            .args(arguments)
            .current_dir(current)
            .env("TMPDIR", temporary.path());
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut banner = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut banner)
            .unwrap();
        let address = banner.split_once("http://").and_then(|(_, rest)| rest.split_once('/'));
        let address = address
            .unwrap_or_else(|| panic!("{banner}{}", fs::read_to_string(&log).unwrap()))
            .0
            .to_owned();
        Server {
            child,
            address,
            temporary,
            log,
        }
    }

    /// Status and body of a reply.
    fn get(&self, path: &str) -> (u16, String) {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(connection, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut reply = String::new();
        connection.read_to_string(&mut reply).unwrap();
        let (head, body) = reply
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{path}: {reply:?}"));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Stops it and makes sure that nothing is left; returns its log.
    fn stop(mut self, signal: Signal) -> String {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        let status = self.child.wait().unwrap();
        let log = fs::read_to_string(&self.log).unwrap();
        assert!(status.success(), "{status}\n{log}");
        let left: Vec<_> = fs::read_dir(self.temporary.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(left, [self.log.as_path()], "the private folder is gone");
        assert!(TcpStream::connect(&self.address).is_err(), "httpd is gone");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing happens to one that has been waited for.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_script_under_every_mpm() {
    let folder = folder();
    let script = file(folder.path(), "app.wsgi", APPLICATION);
    for mpm in ["event", "worker", "prefork"] {
        let server = Server::start(
            &[script.to_str().unwrap(), "--mpm", mpm, "--threads", "2"],
            folder.path(),
        );
        assert_eq!(server.get("/a"), (200, "|/a".to_owned()), "{mpm}");
        let log = server.stop(Signal::SIGINT);
        assert!(log.contains("GET /a"), "requests are logged: {log}");
    }
}

#[test]
fn a_module_below_a_prefix_beside_files() {
    let folder = folder();
    file(
        folder.path(),
        "shop/site.py",
        &APPLICATION.replace("application", "create"),
    );
    file(folder.path(), "static/style.css", "css");
    let arguments = [
        "shop.site:create",
        "--url-prefix",
        "/shop/",
        "--static",
        "/shop/static=static",
    ];
    let server = Server::start(&arguments, folder.path());
    assert_eq!(server.get("/shop/x"), (200, "/shop|/x".to_owned()));
    assert_eq!(server.get("/shop/static/style.css"), (200, "css".to_owned()));
    assert_eq!(server.get("/elsewhere").0, 404);
    server.stop(Signal::SIGTERM);
}

#[test]
fn odd_paths_arrive_as_they_are() {
    let folder = folder();
    let odd = folder.path().join("a 'b\"c\\d [e]*?{f} $HOME %{GLOBAL} #é");
    let script = file(&odd, "my app", APPLICATION);
    file(&odd, "file.txt", "text");
    let files = format!("/files={}", odd.display());
    let server = Server::start(&[script.to_str().unwrap(), "--static", &files], folder.path());
    assert_eq!(server.get("/x"), (200, "|/x".to_owned()));
    assert_eq!(server.get("/files/file.txt"), (200, "text".to_owned()));
    server.stop(Signal::SIGHUP);

    let mut command = wsgictl("serve");
    command
        .arg(file(folder.path(), "${HOME}.wsgi", APPLICATION))
        .args(["--port", "0"]);
    let (status, said) = ended(command);
    assert_eq!(status, Some(1));
    assert!(said.contains("WSGI0650") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_changed_file_starts_the_application_anew() {
    let folder = folder();
    file(folder.path(), "shop/__init__.py", "from shop.text import TEXT\n");
    file(folder.path(), "shop/text.py", "TEXT = 'one'\n");
    let application = APPLICATION.replace("environ['SCRIPT_NAME']", "__import__('shop').TEXT");
    file(folder.path(), "shop/site.py", &application);
    let server = Server::start(&["shop.site", "--reload"], folder.path());
    assert_eq!(server.get("/"), (200, "one|/".to_owned()));
    file(folder.path(), "shop/text.py", "TEXT = 'another'\n");
    wait_until("the new text is there", || server.get("/").1 == "another|/");
    let log = server.stop(Signal::SIGINT);
    assert!(log.contains("shop/text.py has changed"), "{log}");
}

#[test]
fn what_cannot_be_served_is_told_in_one_line() {
    let folder = folder();
    let script = file(folder.path(), "app.wsgi", APPLICATION);
    let script = script.to_str().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port().to_string();
    let cases: [(&[&str], &str); 6] = [
        (&[script, "--port", &taken], "WSGI0653"),
        (&["gone.wsgi"], "WSGI0610"),
        (&[script, "--static", "/s=gone"], "WSGI0613"),
        (&[script, "--python", "/no/such/python"], "WSGI0201"),
        (&[script, "--httpd", "/bin/true"], "WSGI0631"),
        (&[script, "--url-prefix", "shop"], "WSGI0615"),
    ];
    for (arguments, code) in cases {
        let mut command = wsgictl("serve");
        command.args(arguments).current_dir(folder.path());
        let (status, said) = ended(command);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(code) && said.lines().count() == 1, "{code}: {said}");
    }
}

#[test]
fn a_folder_that_requests_cannot_enter_is_named() {
    let folder = folder();
    let closed = folder.path().join("closed");
    let script = file(&closed, "app.wsgi", APPLICATION);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    if !geteuid().is_root() {
        // Requests run as the user who starts the server: nothing is closed to them.
        let server = Server::start(&[script.to_str().unwrap()], folder.path());
        assert_eq!(server.get("/").0, 200);
        return;
    }
    let mut command = wsgictl("serve");
    command.arg(&script);
    let (status, said) = ended(command);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("WSGI0623") && said.contains(&format!("may not enter {closed:?}")),
        "{said}"
    );
}

#[test]
fn check_says_what_would_be_used_and_what_is_wrong() {
    let (status, said) = ended(wsgictl("check"));
    assert_eq!(status, Some(0), "{said}");
    for part in ["httpd ", "MPMs ", "module ", "host ", "Python ", "library ", "trial "] {
        assert!(
            said.lines().any(|line| line.starts_with(part)),
            "{part} is missing: {said}"
        );
    }
    let mut command = wsgictl("check");
    command.args(["--python", "/no/such/python"]);
    let (status, said) = ended(command);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("WRONG: WSGI0201") && said.contains("httpd "), "{said}");
}
