//! The private httpd configuration as text.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::arguments::Mpm;
use crate::fault::Fault;
use crate::install::Wanted;

/// What a server is configured with.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The private folder.
    pub folder: &'a Path,
    pub address: SocketAddr,
    /// Modules to load: name as `LoadModule` takes it, and file.
    pub modules: Vec<(String, PathBuf)>,
    pub mpm: Mpm,
    /// The application runs inside httpd's processes, not in daemons.
    pub embedded: bool,
    /// Processes that run the application.
    pub processes: u16,
    /// Requests at a time in each of them.
    pub threads: u16,
    /// User and group; only root may set them.
    pub owner: Option<(&'a str, &'a str)>,
    pub log_level: &'a str,
    pub access_log: bool,
    pub python: &'a Wanted,
    pub python_path: &'a [PathBuf],
    /// URL path of the application: `/`, or no slash at its end.
    pub prefix: &'a str,
    pub script: &'a Path,
    pub callable: &'a str,
    /// URL path and folder.
    pub files: &'a [(String, PathBuf)],
}

impl Settings<'_> {
    /// The whole file.
    pub fn text(&self) -> Result<Vec<u8>, Fault> {
        let mut file = File::default();
        file.line("# Written by wsgictl; it goes away with the server.");
        self.server(&mut file)?;
        self.workers(&mut file);
        self.content(&mut file)?;
        Ok(file.0)
    }

    fn server(&self, file: &mut File) -> Result<(), Fault> {
        for (name, path) in &self.modules {
            file.words("LoadModule", &[name.as_bytes(), bytes(path)])?;
        }
        file.words("ServerRoot", &[bytes(self.folder)])?;
        file.words("PidFile", &[bytes(&self.folder.join("httpd.pid"))])?;
        file.words("DefaultRuntimeDir", &[bytes(self.folder)])?;
        file.line(&format!("ServerName {}", self.address));
        file.line(&format!("Listen {}", self.address));
        if let Some((user, group)) = self.owner {
            file.words("User", &[user.as_bytes()])?;
            file.words("Group", &[group.as_bytes()])?;
        }
        // Standard error is a pipe that wsgictl reads.
        file.line("ErrorLog /dev/stderr");
        let levels: Vec<&[u8]> = self.log_level.split_ascii_whitespace().map(str::as_bytes).collect();
        file.words("LogLevel", &levels)?;
        if self.access_log {
            file.line(r#"LogFormat "%h %l %u %t \"%r\" %>s %b" common"#);
            file.line("CustomLog /dev/stderr common");
        }
        file.line("RequestReadTimeout header=20-40,MinRate=500 body=20,MinRate=500");
        Ok(())
    }

    fn workers(&self, file: &mut File) {
        let (mut processes, mut threads) = (u32::from(self.processes), u32::from(self.threads));
        if !self.embedded {
            // httpd's own workers wait for the daemons, and hold connections that want nothing yet.
            threads = (processes * threads * 2).clamp(32, 1024);
            processes = 1;
        }
        let requests = processes * threads;
        // As many processes as asked for, from the start and for good.
        match self.mpm {
            Mpm::Prefork => file.line(&format!(
                "ServerLimit {requests}\nMaxRequestWorkers {requests}\nStartServers {requests}\n\
                 MinSpareServers 1\nMaxSpareServers {requests}"
            )),
            Mpm::Event | Mpm::Worker => {
                // A graceful restart needs room for new processes beside old ones.
                let limit = processes * 2 + 1;
                file.line(&format!(
                    "ServerLimit {limit}\nThreadLimit {threads}\nThreadsPerChild {threads}\n\
                     MaxRequestWorkers {requests}\nStartServers {processes}\n\
                     MinSpareThreads 1\nMaxSpareThreads {requests}"
                ));
            }
        }
    }

    fn content(&self, file: &mut File) -> Result<(), Fault> {
        match self.python {
            Wanted::Default => {}
            Wanted::Interpreter(path) => file.words("WSGIPython", &[bytes(path)])?,
            Wanted::Home(path) => file.words("WSGIPythonHome", &[bytes(path)])?,
        }
        if let Some(path) = self.python_path.iter().find(|path| bytes(path).contains(&b':')) {
            return Err(Fault::new(
                651,
                format!("the folder {path:?} has a ':' in it, which separates folders on a path"),
            ));
        }
        let python_path = self.python_path.iter().map(|path| bytes(path));
        let python_path = python_path.collect::<Vec<_>>().join(&b':');
        if self.embedded {
            if !python_path.is_empty() {
                file.words("WSGIPythonPath", &[&python_path])?;
            }
        } else {
            let (processes, threads) = (self.processes.to_string(), self.threads.to_string());
            let mut options: Vec<(&str, &[u8])> = vec![("threads", threads.as_bytes())];
            // Said at all, it makes applications believe that there are several.
            if self.processes > 1 {
                options.push(("processes", processes.as_bytes()));
            }
            if !python_path.is_empty() {
                options.push(("python-path", &python_path));
            }
            file.options("WSGIDaemonProcess application", &options)?;
            file.line("WSGIProcessGroup application\nWSGIRestrictEmbedded On");
        }

        // Nothing lies in the document root, and nothing but the aliases below leads anywhere else.
        file.words("DocumentRoot", &[bytes(&self.folder.join("htdocs"))])?;
        file.line("<Directory />\n    AllowOverride None\n    Options FollowSymLinks\n</Directory>");
        file.line("<Location />\n    Require all granted\n</Location>");
        if !self.files.is_empty() {
            let types = Path::new("/etc/mime.types");
            file.words(
                "TypesConfig",
                &[bytes(if types.is_file() { types } else { Path::new("/dev/null") })],
            )?;
            file.line(
                "AddType text/html .html\nAddType text/css .css\nAddType text/javascript .js .mjs\n\
                 AddType application/json .json\nAddType image/svg+xml .svg\nAddType image/png .png\n\
                 AddType image/jpeg .jpg .jpeg\nAddType font/woff2 .woff2",
            );
        }
        // The first alias that fits counts: the longer ones come first.
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|(url, _)| std::cmp::Reverse(url.len()));
        for (url, folder) in files {
            file.words("Alias", &[url.as_bytes(), bytes(folder)])?;
        }

        file.line("WSGIApplicationGroup %{GLOBAL}");
        file.words("WSGICallableObject", &[self.callable.as_bytes()])?;
        file.line("WSGIPassAuthorization On");
        file.words("WSGIScriptAlias", &[self.prefix.as_bytes(), bytes(self.script)])
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// A configuration file in the making.
#[derive(Default)]
struct File(Vec<u8>);

impl File {
    /// Text of our own.
    fn line(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'\n');
    }

    /// A directive with words that may be anything.
    fn words(&mut self, directive: &str, words: &[&[u8]]) -> Result<(), Fault> {
        self.0.extend_from_slice(directive.as_bytes());
        for word in words {
            self.0.push(b' ');
            self.quoted(word)?;
        }
        self.0.push(b'\n');
        Ok(())
    }

    /// A directive with options whose values may be anything.
    fn options(&mut self, directive: &str, options: &[(&str, &[u8])]) -> Result<(), Fault> {
        self.0.extend_from_slice(directive.as_bytes());
        for (name, value) in options {
            self.0.extend_from_slice(format!(" {name}=").as_bytes());
            self.quoted(value)?;
        }
        self.0.push(b'\n');
        Ok(())
    }

    /// A word, quoted so that it arrives as it is.
    ///
    /// Inside `"…"` httpd takes a backslash before `"` and before another backslash away (`ap_getword_conf`). What
    /// cannot be quoted is refused: line ends, and `${`, which httpd replaces before it looks at quotes.
    fn quoted(&mut self, word: &[u8]) -> Result<(), Fault> {
        if word.iter().any(u8::is_ascii_control) || word.windows(2).any(|pair| pair == b"${") {
            let word = String::from_utf8_lossy(word);
            return Err(Fault::new(
                650,
                format!(
                    "{word:?} cannot stand in an httpd configuration (control characters and '${{' cannot): rename it"
                ),
            ));
        }
        self.0.push(b'"');
        for &byte in word {
            if matches!(byte, b'"' | b'\\') {
                self.0.push(b'\\');
            }
            self.0.push(byte);
        }
        self.0.push(b'"');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn words(words: &[&[u8]]) -> Result<String, Fault> {
        let mut file = File::default();
        file.words("D", words)?;
        Ok(String::from_utf8(file.0).unwrap())
    }

    #[test]
    fn quoting() {
        assert_eq!(words(&[b"/a b", b""]).unwrap(), "D \"/a b\" \"\"\n");
        assert_eq!(words(&[br#"/a"b\"#]).unwrap(), "D \"/a\\\"b\\\\\"\n");
        assert_eq!(words(&[b"/$x #{y} 'z'"]).unwrap(), "D \"/$x #{y} 'z'\"\n");
        for wrong in [b"a\nb".as_slice(), b"a\rb", b"a\0b", b"/${HOME}"] {
            assert!(
                words(&[wrong]).unwrap_err().to_string().starts_with("WSGI0650"),
                "{wrong:?}"
            );
        }
    }

    fn settings<'a>(folder: &'a Path, files: &'a [(String, PathBuf)], python_path: &'a [PathBuf]) -> Settings<'a> {
        Settings {
            folder,
            address: "[::1]:8001".parse().unwrap(),
            modules: vec![("wsgi_module".to_owned(), PathBuf::from("/m/mod_wsgi.so"))],
            mpm: Mpm::Event,
            embedded: true,
            processes: 3,
            threads: 4,
            owner: Some(("www-data", "www-data")),
            log_level: "warn wsgi:debug",
            access_log: false,
            python: &Wanted::Default,
            python_path,
            prefix: "/",
            script: Path::new("/srv/a.wsgi"),
            callable: "app",
            files,
        }
    }

    fn text(settings: &Settings) -> String {
        String::from_utf8(settings.text().unwrap()).unwrap()
    }

    #[test]
    fn a_whole_file() {
        let files = ["/s", "/s/long"].map(|url| (url.to_owned(), PathBuf::from("/f")));
        let python_path = ["/p", "/q"].map(PathBuf::from);
        let mut settings = settings(Path::new("/run/x y"), &files, &python_path);
        let event = text(&settings);
        for line in [
            "Listen [::1]:8001",
            "LoadModule \"wsgi_module\" \"/m/mod_wsgi.so\"",
            "PidFile \"/run/x y/httpd.pid\"",
            "LogLevel \"warn\" \"wsgi:debug\"",
            "MaxRequestWorkers 12",
            "WSGIPythonPath \"/p:/q\"",
            "Alias \"/s/long\" \"/f\"\nAlias \"/s\" \"/f\"",
            "WSGIScriptAlias \"/\" \"/srv/a.wsgi\"",
        ] {
            assert!(event.contains(&format!("{line}\n")), "{line} is missing in\n{event}");
        }
        assert!(!event.contains("CustomLog") && !event.contains("WSGIPython "));
        settings.embedded = false;
        let daemon = text(&settings);
        for line in [
            "WSGIDaemonProcess application threads=\"4\" processes=\"3\" python-path=\"/p:/q\"",
            "WSGIProcessGroup application",
            "MaxRequestWorkers 32",
        ] {
            assert!(daemon.contains(&format!("{line}\n")), "{line} is missing in\n{daemon}");
        }
        settings.embedded = true;
        settings.mpm = Mpm::Prefork;
        assert!(text(&settings).contains("MaxRequestWorkers 12\n") && !text(&settings).contains("Threads"));
    }

    #[test]
    fn odd_paths() {
        let colon = [PathBuf::from("/a:b")];
        let refused = settings(Path::new("/x"), &[], &colon).text().unwrap_err();
        assert!(refused.to_string().starts_with("WSGI0651"));
        let latin1 = PathBuf::from(OsStr::from_bytes(b"/caf\xe9"));
        let bytes = settings(&latin1, &[], &[]).text().unwrap();
        assert!(bytes.windows(8).any(|part| part == b"\"/caf\xe9/h"));
    }
}
