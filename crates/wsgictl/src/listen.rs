//! The address that is listened on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};

use crate::fault::Fault;

/// Where to listen, and what keeps others from it until httpd does. Tried at once, because the answer of httpd to a port
/// in use is several lines long.
pub fn address(host: &str, port: u16) -> Result<(SocketAddr, OwnedFd), Fault> {
    let address = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port),
        Err(_) => (host, port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next())
            .ok_or_else(|| {
                Fault::new(
                    652,
                    format!("--host {host:?} is neither an address nor a name that leads to one"),
                )
            })?,
    };
    hold(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Fault::new(
            653,
            format!("{address} is in use by another server; choose another port by --port (0: any free one)"),
        ),
        io::ErrorKind::PermissionDenied => Fault::new(
            654,
            format!("only root may listen on port {port}; choose one from 1024 on by --port"),
        ),
        io::ErrorKind::AddrNotAvailable => Fault::new(
            655,
            format!("{} is no address of this machine; correct --host", address.ip()),
        ),
        _ => Fault::new(656, format!("cannot listen on {address}: {error}")),
    })
}

/// A socket that is bound there. httpd can be bound there too: it marks its sockets in the same way, and this one does
/// not listen.
fn hold(address: SocketAddr) -> io::Result<(SocketAddr, OwnedFd)> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let held = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&held, true)?;
    bind(&held, &address)?;
    let address = getsockname(&held)?.try_into()?;
    Ok((address, held))
}

/// The URL that leads there from this machine.
pub fn url(address: SocketAddr, prefix: &str) -> String {
    // "Every address" is none to visit; this machine's own is one of them.
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!(
        "http://{}{}/",
        SocketAddr::new(ip, address.port()),
        prefix.trim_end_matches('/')
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses() {
        let (taken, _held) = address("127.0.0.1", 0).unwrap();
        assert_ne!(taken.port(), 0);
        let (other, _held) = address("127.0.0.1", 0).unwrap();
        assert_ne!(taken, other);
        // As httpd does it.
        TcpListener::bind(taken).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let in_use = address("127.0.0.1", listener.local_addr().unwrap().port()).unwrap_err();
        assert!(in_use.to_string().starts_with("WSGI0653"), "{in_use}");
        assert!(
            address("192.0.2.1", 8000)
                .unwrap_err()
                .to_string()
                .starts_with("WSGI0655")
        );
        assert!(
            address("no such host", 8000)
                .unwrap_err()
                .to_string()
                .starts_with("WSGI0652")
        );
    }

    #[test]
    fn urls() {
        let url = |address: &str, prefix| url(address.parse().unwrap(), prefix);
        assert_eq!(url("127.0.0.1:8000", "/"), "http://127.0.0.1:8000/");
        assert_eq!(url("0.0.0.0:80", "/shop"), "http://127.0.0.1:80/shop/");
        assert_eq!(url("[::]:81", "/"), "http://[::1]:81/");
        assert_eq!(url("[fe80::1]:81", "/"), "http://[fe80::1]:81/");
    }
}
