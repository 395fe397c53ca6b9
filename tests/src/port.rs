//! Free ports, for servers that can't be told to take one by themselves.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the range from which operating systems take the ports of outgoing connections, so that
/// none of those takes a port that is free for the moment while its server restarts.
const FIRST: u16 = 16_000;
const COUNT: u16 = 16_000;

/// A port of 127.0.0.1 on which nobody listens; never the same one twice in a row.
///
/// # Panics
/// All are taken.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two test processes at a time begin at different places.
    let start = u16::try_from(process::id() * 131 % u32::from(COUNT)).unwrap_or(0);
    (0..COUNT)
        .map(|_| NEXT.fetch_add(1, Ordering::Relaxed))
        .map(|next| FIRST + start.wrapping_add(next) % COUNT)
        .find(|port| is_free(*port))
        .expect("one of thousands of ports is free")
}

/// Whether nobody listens on a port of 127.0.0.1.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(local(port)).is_ok()
}

/// A port of 127.0.0.1.
pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
