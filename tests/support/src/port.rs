//! Ports that stay a test's own.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1 that the system gives to nobody else: a socket is bound to
/// it and does not listen, beside which the server may bind and listen.
///
/// So it is known before the server runs, and is still there while the server is down.
pub struct Port {
    _socket: Socket,
    address: SocketAddr,
}

impl Port {
    /// Takes one.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn reserve() -> Self {
        let reserve = || -> std::io::Result<(Socket, SocketAddr)> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            // The server's has it too; only then may both be bound.
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
            let address = socket.local_addr()?.as_socket();
            Ok((socket, address.expect("an address of the Internet")))
        };
        let (_socket, address) = reserve().expect("a free port of 127.0.0.1");
        Self { _socket, address }
    }

    /// It, with 127.0.0.1.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// It alone.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.address.port()
    }
}
