//! The socket at which administrators reach the supervisor: made here, since the supervisor may not write to httpd's
//! folders.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, open, statat, unlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::umask;
use wsgi_core::wire::control::command::SUFFIX;

/// The socket's path: that of httpd's `PidFile`, which no other running httpd has, and a suffix.
pub fn path(pid_file: &Path) -> PathBuf {
    let mut path = pid_file.as_os_str().to_owned();
    path.push(SUFFIX);
    path.into()
}

/// Makes the socket, in place of one that is left there. Only this process's user, and root, can connect.
///
/// # Errors
/// What the system refused.
pub fn open_at(path: &Path) -> Result<OwnedFd, Errno> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL);
    };
    let folder = open(
        folder,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    // Nothing but a socket may be in the way.
    if let Ok(found) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        if !rustix::fs::FileType::from_raw_mode(found.st_mode).is_socket() {
            return Err(Errno::EXIST);
        }
        unlinkat(&folder, name, AtFlags::empty())?;
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Addresses are short; a path by way of the folder's descriptor is always short enough.
    let mut address = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    address.push(name);
    let address = SocketAddrUnix::new(&address)?;
    let before = umask(Mode::from_raw_mode(0o177));
    let bound = bind(&socket, &address);
    umask(before);
    bound?;
    listen(&socket, 16)?;
    Ok(socket)
}

/// Takes the socket away.
pub fn remove(path: &Path) {
    // Whoever connects to one that is left is refused.
    let _ = std::fs::remove_file(path);
}
