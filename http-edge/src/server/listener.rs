//! Listening sockets.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait for a thread to take them.
const BACKLOG: i32 = 1024;

/// Why a port cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody has it.
    #[error(
        "{host}:{port} is in use; stop what listens there or choose another port with {option} or `{key}`"
    )]
    InUse {
        /// The address.
        host: String,
        /// The port.
        port: u16,
        /// The command line's option.
        option: &'static str,
        /// The setting.
        key: &'static str,
    },
    /// The address is none of this machine's, or not allowed.
    #[error("cannot listen on {host}:{port}: {source}")]
    Other {
        /// The address.
        host: String,
        /// The port.
        port: u16,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Listens on `host`:`port`. `option` and `key` say in errors what to change.
///
/// # Errors
///
/// [`ListenError`] with the address and what to do.
pub fn bind(
    host: &str,
    port: u16,
    option: &'static str,
    key: &'static str,
) -> Result<TcpListener, ListenError> {
    let mut last = None;
    let addresses: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            last = Some(error);
            Vec::new()
        }
    };
    for address in addresses {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| std::io::Error::other("the host name has no address"));
    let host = host.to_owned();
    Err(if source.kind() == std::io::ErrorKind::AddrInUse {
        ListenError::InUse {
            host,
            port,
            option,
            key,
        }
    } else {
        ListenError::Other { host, port, source }
    })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the old connections' last packets.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_says_what_to_change() {
        let taken = bind("127.0.0.1", 0, "--port", "server.port").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind("127.0.0.1", port, "--port", "server.port")
            .unwrap_err()
            .to_string();
        for part in [port.to_string().as_str(), "in use", "--port", "server.port"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(bind("no such host", 1, "--port", "server.port").is_err());
    }
}
