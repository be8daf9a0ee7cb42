//! The parent's side of daemon mode: the queues of the process groups, the supervisor `wsgid`, and what it is told.
//!
//! Queues and supervisor outlive a configuration: their numbers are kept with httpd's process. Everything else here is
//! made anew at each reading of the configuration, and given up with it.

pub mod account;
mod administrators;
mod control;
mod definition;
mod scoreboard;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair, sockopt};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use wsgi_core::abi::Level;
use wsgi_core::supervision::{STOP_LIMIT, State};
use wsgi_core::wire::control::CONTROL_FD;
use wsgi_core::wire::control::parent::Begin;
use wsgi_core::wire::control::status;

use crate::daemon::{Group, Groups, Pipes};
use crate::embedded;
use crate::httpd::child::News;
use crate::httpd::kept::{Kept, KeptFd, Queue, Supervisor};
use crate::httpd::page::Page;
use crate::httpd::pool::Pool;
use crate::httpd::server::Server;
use crate::httpd::{child, log, process};
use crate::module::Wsgi;
use control::{Control, Refusal};
pub use definition::{Definition, Owner, ScriptOwner, check, of as definitions};
pub use scoreboard::Scoreboard;

/// Bytes that a queue holds for each request that may wait: most heads are smaller, few are much larger.
const QUEUED_REQUEST: usize = 4096;

/// Variables of httpd's environment that the supervisor has for its log and for daemons; nothing else of it.
const PASSED_ON: [&str; 4] = ["TZ", "LANG", "LC_ALL", "LC_CTYPE"];

/// One configuration's hold on the supervisor.
pub struct Hold {
    number: u64,
    /// Where it is shown how the groups are. Children have one that they can only read.
    page: OwnedFd,
    /// The groups on it.
    groups: usize,
    /// What daemons of some groups may see of httpd's threads.
    scoreboard: Option<Arc<Scoreboard>>,
    /// Where administrators reach the supervisor, if httpd has a `PidFile`.
    administrators: Option<PathBuf>,
    /// Its writing end is inherited by httpd's children; when the parent has given its own up, the end of it tells the
    /// supervisor that they are gone.
    lifeline: (OwnedFd, OwnedFd),
    /// The process that made this: httpd's children have it too, and must not act on it.
    parent: u32,
    /// The supervisor has been told to end.
    stopping: AtomicBool,
    /// The groups are not in the care of a supervisor.
    lost: AtomicBool,
}

/// What ends with a configuration.
struct Generation<'p> {
    server: Server<'p>,
    hold: Arc<Hold>,
}

/// The post_config hook: hands the groups over to the supervisor, which is started if need be.
///
/// # Errors
/// At httpd's start, what is wrong, with the group it is about. Later httpd must go on: it is logged, and the groups
/// answer 503.
pub fn configure(pool: Pool<'_>, server: Server<'_>) -> Result<(), String> {
    let server = server.main();
    let definitions = definition::of(server)?;
    let shown = definitions.iter().any(|definition| definition.options.server_metrics);
    let turn = server.config::<Wsgi>().global.counters.get().filter(|_| shown);
    let scoreboard = turn.map(|turn| Scoreboard::open(server, turn.as_fd())).transpose()?;
    let scoreboard = scoreboard.map(Arc::new);
    let mut kept = Kept::load(server);
    if definitions.is_empty() && kept.supervisor.is_none() {
        return Ok(());
    }
    kept.generation += 1;
    let first = kept.generation == 1;
    let page = status_page(definitions.len()).map_err(|error| system("status page", error))?;
    let readable = Page::map(read_only(&page)?, page_size(definitions.len()));
    let readable = Arc::new(readable.map_err(|error| format!("WSGI0159: the status page cannot be mapped: {error}"))?);
    kept.save(server);
    let hold = Arc::new(Hold {
        number: kept.generation,
        page,
        groups: definitions.len(),
        scoreboard: scoreboard.clone(),
        administrators: process::pid_file(pool).map(|file| administrators::path(&file)),
        lifeline: pipe_with(PipeFlags::CLOEXEC).map_err(|error| system("pipe", error))?,
        parent: std::process::id(),
        stopping: AtomicBool::new(false),
        lost: AtomicBool::new(false),
    });
    hold.show_failed();
    let applied = hold.apply(pool, server).or_else(|refusal| {
        match refusal {
            refusal if first => return Err(refusal),
            Refusal::Foreign => leave_behind(pool, server),
            // One that does not answer is replaced; its daemons end with it.
            Refusal::Reason(reason) => {
                log::server::<Wsgi>(server, Level::Error, reason.as_bytes());
                discard(server);
            }
        }
        hold.apply(pool, server)
    });
    let mut kept = Kept::load(server);
    let pipes = Pipes::new(process::mpm().processes);
    let mut groups = Vec::new();
    for (index, definition) in definitions.iter().enumerate() {
        let queue = queue(&mut kept, definition).map_err(|error| system("queue", error))?;
        let send = duplicate(&queue.send)?;
        groups.push(Group::new(
            definition,
            server.timeout(),
            send,
            (Arc::clone(&readable), index),
            scoreboard.clone().filter(|_| definition.options.server_metrics),
            pipes.clone(),
        ));
    }
    kept.save(server);
    match applied.map_err(Refusal::text) {
        Ok(()) => forget_queues(server, definitions),
        Err(reason) if first => return Err(reason),
        Err(reason) => hold.lose(server, &reason),
    }
    let global = &server.config::<Wsgi>().global;
    // A configuration is put to use once.
    let _ = global.groups.set(Groups::new(groups));
    let _ = global.hold.set(Arc::clone(&hold));
    pool.own(Generation { server, hold });
    Ok(())
}

/// The monitor hook, which the parent runs every ten seconds or so: groups that have lost their supervisor get a new one,
/// and where no requests come the scoreboard is published nonetheless.
pub fn monitor(pool: Pool<'_>, server: Server<'_>) {
    let server = server.main();
    let hold = server.config::<Wsgi>().global.hold.get();
    if let Some(scoreboard) = hold.and_then(|hold| hold.scoreboard.as_ref()) {
        scoreboard.refresh();
    }
    if let Some(hold) = hold
        && hold.lost.load(Ordering::Relaxed)
        && hold.acts()
        && hold.apply(pool, server).is_ok()
    {
        log::server::<Wsgi>(server, Level::Notice, b"WSGI0165: the daemons have a supervisor again");
    }
}

/// In a new child: closes what belongs to the parent. A child that held a receiving end would keep requests from failing
/// that nobody can take, and one that held the control socket could command the supervisor.
pub fn enter_child(server: Server<'_>) {
    let server = server.main();
    let Some(hold) = server.config::<Wsgi>().global.hold.get() else {
        return;
    };
    if let Some(scoreboard) = &hold.scoreboard {
        scoreboard.refresh();
    }
    // httpd -X has one process for everything.
    if hold.parent == std::process::id() {
        return;
    }
    let kept = Kept::load(server);
    for queue in kept.queues {
        queue.receive.close();
    }
    if let Some(supervisor) = kept.supervisor {
        supervisor.control.close();
    }
    process::close_inherited(hold.page.as_raw_fd());
}

impl Hold {
    /// Whether it is this process's to act.
    fn acts(&self) -> bool {
        std::process::id() == self.parent && !self.stopping.load(Ordering::Relaxed) && !process::is_exiting()
    }

    /// Makes the supervisor, a new one if need be, act by this configuration, and watches over it.
    fn apply<'p>(self: &Arc<Self>, pool: Pool<'p>, server: Server<'p>) -> Result<(), Refusal> {
        let mut kept = Kept::load(server);
        let mut messages = Vec::new();
        for definition in definition::of(server)? {
            let queue = queue(&mut kept, definition).map_err(|error| system("queue", error))?;
            let scoreboard = self.scoreboard.as_deref().filter(|_| definition.options.server_metrics);
            if let Some(message) = definition.message(server, scoreboard.is_some()) {
                let others = [scoreboard.map(AsFd::as_fd), definition.error_log(server)];
                messages.push((message, duplicate(&queue.receive)?, others));
            }
        }
        kept.save(server);
        let listener = self.listen(server);
        let begin = begin(server, self.number, messages.len(), listener.is_some())?;
        let supervisor = supervisor(&mut kept, server)?;
        let control = Control::new(supervisor.control.as_fd());
        let carried = [
            Some(self.page.as_fd()),
            listener.as_ref().map(AsFd::as_fd),
            server.error_log(),
        ];
        let carried: Vec<_> = carried.into_iter().flatten().collect();
        let counters = server.config::<Wsgi>().global.counters.get().map(AsFd::as_fd);
        let last: Vec<_> = [Some(self.lifeline.0.as_fd()), counters]
            .into_iter()
            .flatten()
            .collect();
        control.configure(begin, &carried, messages, &last)?;
        self.lost.store(false, Ordering::Relaxed);
        let hold = Arc::clone(self);
        child::watch(pool, supervisor.pid, move |news| match news {
            News::Died => hold.revive(pool, server),
            News::Stopping => hold.stop(server),
        });
        Ok(())
    }

    /// The socket for administrators. Without it everything else works.
    fn listen(&self, server: Server<'_>) -> Option<OwnedFd> {
        let path = self.administrators.as_deref()?;
        match administrators::open_at(path) {
            Ok(socket) => Some(socket),
            Err(error) => {
                let text = format!(
                    "WSGI0167: wsgictl cannot reach this server: the socket {} cannot be made: {error}; let the folder \
                     of httpd's PidFile be writable by the user that starts httpd",
                    path.display()
                );
                log::server::<Wsgi>(server, Level::Warning, text.as_bytes());
                None
            }
        }
    }

    /// Ends the daemons, and waits for that. httpd's children have been told to end and finish their requests meanwhile;
    /// httpd itself looks after them at once, and then in steps of up to a second: what they wait for must be over before
    /// its first long step.
    fn stop(&self, server: Server<'_>) {
        let Some(Supervisor { pid, control }) = Kept::load(server).supervisor else {
            return;
        };
        if self.stopping.swap(true, Ordering::Relaxed) {
            return;
        }
        let control = Control::new(control.as_fd());
        control.stop();
        let definitions = definition::of(server).unwrap_or_default();
        let limits = definitions.iter().map(|definition| definition.options.shutdown_timeout);
        let longest = limits
            .map(|limit| limit.unwrap_or(STOP_LIMIT))
            .max()
            .unwrap_or_default();
        control.wait(longest + Duration::from_secs(1));
        // Only a zombie is to be avoided; how it ended is of no interest any more.
        let _ = Pid::from_raw(pid).map(|pid| waitpid(Some(pid), WaitOptions::NOHANG));
    }

    /// Starts a new supervisor when the last one has ended by itself. Requests wait in their queues meanwhile.
    fn revive<'p>(self: &Arc<Self>, pool: Pool<'p>, server: Server<'p>) {
        if !self.acts() {
            return;
        }
        let mut kept = Kept::load(server);
        if let Some(Supervisor { pid, control }) = kept.supervisor.take() {
            control.close();
            kept.save(server);
            let text =
                format!("WSGI0156: the supervisor of the daemons (wsgid, process {pid}) has ended; a new one starts");
            log::server::<Wsgi>(server, Level::Error, text.as_bytes());
        }
        if let Err(refusal) = self.apply(pool, server) {
            self.lose(server, &refusal.text());
        }
    }

    /// The groups answer 503 until [`monitor`] has a supervisor for them.
    fn lose(&self, server: Server<'_>, reason: &str) {
        let text = format!("{reason}; requests for daemon process groups are answered 503, and it is tried again");
        log::server::<Wsgi>(server, Level::Critical, text.as_bytes());
        self.lost.store(true, Ordering::Relaxed);
        self.show_failed();
    }

    /// Shows all groups as failed. The supervisor shows those that it has been told of as they are.
    fn show_failed(&self) {
        let slot = status::encode(State::Failed {
            retry: None,
            alone: true,
        });
        for at in 0..self.groups {
            // What cannot be shown leaves requests to wait.
            let _ = rustix::io::pwrite(&self.page, &slot, (at * status::SLOT) as u64);
        }
    }
}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        // One that httpd waits for its children with was told so already.
        if std::process::id() == self.hold.parent && process::is_exiting() {
            self.hold.stop(self.server);
            if let Some(path) = &self.hold.administrators {
                administrators::remove(path);
            }
        }
    }
}

/// Leaves a supervisor of another version to httpd's old children, with the queues that they use: its daemons could not
/// read what new ones send. It ends when they have.
fn leave_behind<'p>(pool: Pool<'p>, server: Server<'p>) {
    let mut kept = Kept::load(server);
    if let Some(Supervisor { pid, control }) = kept.supervisor.take() {
        control.close();
        child::watch(pool, pid, |_| {});
        let text = format!(
            "WSGI0761: the supervisor of the daemons (wsgid, process {pid}) is of another version than this mod_wsgi.so: a \
             new one takes over, and the old one ends when httpd's old processes have"
        );
        log::server::<Wsgi>(server, Level::Notice, text.as_bytes());
    }
    for queue in std::mem::take(&mut kept.queues) {
        queue.send.close();
        queue.receive.close();
    }
    kept.save(server);
}

/// Ends a supervisor that does not answer.
fn discard(server: Server<'_>) {
    let mut kept = Kept::load(server);
    if let Some(Supervisor { pid, control }) = kept.supervisor.take() {
        control.close();
        if let Some(pid) = Pid::from_raw(pid) {
            // One that is gone already is as good.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
        kept.save(server);
    }
}

/// What holds for all groups.
fn begin(server: Server<'_>, generation: u64, groups: usize, listens: bool) -> Result<Begin, String> {
    let mpm = process::mpm();
    let version = process::version().map(|part| part.to_string()).join(".");
    let level = log::level::<Wsgi>(server);
    let slow = server.config::<Wsgi>().global.metrics.slow_requests.unwrap_or_default();
    let facts: [(&str, Vec<u8>); 7] = [
        ("slow_requests", slow.as_micros().to_string().into_bytes()),
        ("apache.version", version.into_bytes()),
        ("apache.description", process::description().to_vec()),
        ("apache.build_date", process::build_date().to_vec()),
        ("apache.mpm_name", mpm.name.to_vec()),
        ("apache.maximum_processes", mpm.processes.to_string().into_bytes()),
        ("apache.threads_per_process", mpm.threads.to_string().into_bytes()),
    ];
    let (uid, gid) = process::child_identity()
        .unwrap_or_else(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    Ok(Begin {
        generation,
        groups: u16::try_from(groups).map_err(|_| "WSGI0155: more daemon process groups than there may be")?,
        log_level: level,
        listens,
        uid,
        gid,
        host: embedded::host_file()?.as_os_str().as_bytes().to_vec(),
        facts: facts.map(|(name, value)| (name.into(), value)).into(),
    })
}

/// The supervisor, if it lives; else a new one.
fn supervisor<'k>(kept: &'k mut Kept, server: Server<'_>) -> Result<&'k Supervisor, String> {
    if let Some(Supervisor { control, .. }) = kept.supervisor.take_if(|supervisor| !lives(supervisor.pid)) {
        control.close();
    }
    if kept.supervisor.is_none() {
        kept.supervisor = Some(start()?);
        kept.save(server);
    }
    kept.supervisor
        .as_ref()
        .ok_or_else(|| "WSGI0157: wsgid did not start".to_owned())
}

fn lives(pid: i32) -> bool {
    match Pid::from_raw(pid) {
        None => false,
        // None: nothing to report, it runs. An error: not our child any more.
        Some(pid) => matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)),
    }
}

fn start() -> Result<Supervisor, String> {
    let program = embedded::host_file()?.with_file_name("wsgid");
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|error| system("control socket", error))?;
    let mapping = FdMapping {
        parent_fd: theirs,
        child_fd: CONTROL_FD,
    };
    let mut command = Command::new(&program);
    command
        .env_clear()
        .envs(
            PASSED_ON
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .current_dir("/")
        // What prefork sends to httpd's process group at a stop would end it before httpd has told it to.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let started = command
        .fd_mappings(vec![mapping])
        .map_err(|error| error.to_string())
        .and_then(|command| command.spawn().map_err(|error| error.to_string()));
    match started {
        Ok(child) => Ok(Supervisor {
            pid: i32::try_from(child.id()).unwrap_or(0),
            control: KeptFd::keep(ours),
        }),
        Err(reason) => Err(format!("WSGI0158: {} cannot be started: {reason}", program.display())),
    }
}

/// The queue of a group: that of an earlier configuration, or a new one.
fn queue<'k>(kept: &'k mut Kept, definition: &Definition) -> Result<&'k Queue, Errno> {
    let key = definition.queue_key();
    // A daemon may have shut its group's queue down.
    if let Some(broken) = kept
        .queues
        .iter()
        .position(|queue| queue.key == key && is_shut(&queue.send))
    {
        let queue = kept.queues.swap_remove(broken);
        queue.send.close();
        queue.receive.close();
    }
    let at = match kept.queues.iter().position(|queue| queue.key == key) {
        Some(at) => at,
        None => {
            let (send, receive) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
            // Nobody reads there: a daemon must not fill it.
            shutdown(&send, Shutdown::Read)?;
            kept.queues.push(Queue {
                key,
                send: KeptFd::keep(send),
                receive: KeptFd::keep(receive),
            });
            kept.queues.len() - 1
        }
    };
    let queue = &kept.queues[at];
    let limit = usize::try_from(definition.options.queue_limit()).unwrap_or(usize::MAX);
    let bytes = limit.saturating_mul(QUEUED_REQUEST).clamp(64 * 1024, 1 << 30);
    // Only root may go beyond the system's maximum; an ordinary user gets what it allows.
    sockopt::set_socket_send_buffer_size_force(&queue.send, bytes)
        .or_else(|_| sockopt::set_socket_send_buffer_size(&queue.send, bytes))?;
    Ok(queue)
}

/// Gives up the queues of groups that there are no more. Old children of httpd have ends of their own, and what they send is
/// taken as long as the supervisor keeps the group's daemons; after that nobody must wait for an answer in vain.
fn forget_queues(server: Server<'_>, definitions: &[Definition]) {
    let mut kept = Kept::load(server);
    let used = |queue: &Queue| definitions.iter().any(|definition| definition.queue_key() == queue.key);
    let (used, unused): (Vec<Queue>, Vec<Queue>) = std::mem::take(&mut kept.queues).into_iter().partition(used);
    kept.queues = used;
    kept.save(server);
    for queue in unused {
        queue.send.close();
        queue.receive.close();
    }
}

fn is_shut(queue: &KeptFd) -> bool {
    let mut fds = [PollFd::new(queue, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(1..)) && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

fn status_page(groups: usize) -> Result<OwnedFd, Errno> {
    let page = memfd_create(c"wsgi-status", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&page, page_size(groups).try_into().unwrap_or(u64::MAX))?;
    // Who has it open for reading could open it again for writing, if its mode did not forbid that.
    fchmod(&page, Mode::RUSR | Mode::WUSR)?;
    // httpd's children map it. It grows when the supervisor puts its report behind the slots.
    fcntl_add_seals(&page, SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(page)
}

/// Bytes of the slots; also without groups it has one slot, for nothing can be mapped that is empty.
fn page_size(groups: usize) -> usize {
    groups.max(1) * status::SLOT
}

/// The same page, for those who only read it: a mapping of it cannot be made writable.
fn read_only(page: &OwnedFd) -> Result<OwnedFd, String> {
    let path = format!("/proc/self/fd/{}", page.as_raw_fd());
    let opened = std::fs::File::open(&path).map(OwnedFd::from);
    opened.map_err(|error| format!("WSGI0159: {path} cannot be opened, which daemon process groups need: {error}"))
}

fn duplicate(fd: &impl AsFd) -> Result<OwnedFd, String> {
    fcntl_dupfd_cloexec(fd, 3).map_err(|error| system("descriptor", error))
}

fn system(what: &str, error: Errno) -> String {
    format!("WSGI0159: no {what} for daemon process groups can be made: {error}")
}
