//! Free ports on 127.0.0.1 for servers that take theirs as an argument.

use std::net::{Ipv4Addr, TcpListener};

/// Below the range from which Linux takes the ports of outgoing connections, so that none of these
/// takes a port between the moment it is chosen and the moment its server listens.
const RANGE: std::ops::Range<u16> = 10_000..32_768;

/// Ports that nobody listens on. Another process may still choose the same ones at the same time:
/// a caller that starts a server on them must notice that it failed, and retry.
pub fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until the last is found, so that they differ.
    let held: [TcpListener; N] = std::array::from_fn(|_| {
        (0..1_000)
            .find_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, rand::random_range(RANGE))).ok())
            .expect("no free port on 127.0.0.1 in 1000 tries")
    });
    held.map(|listener| listener.local_addr().expect("the port of a listener").port())
}

/// Ports that nobody listens on, one after the other.
pub fn free_ports_in_a_row<const N: usize>() -> [u16; N] {
    let last = RANGE.end - N as u16;
    (0..1_000)
        .find_map(|_| {
            let first = rand::random_range(RANGE.start..last);
            let ports: [u16; N] = std::array::from_fn(|at| first + at as u16);
            // All are held until the last is tried.
            let held: Result<Vec<_>, _> =
                ports.iter().map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port))).collect();
            held.is_ok().then_some(ports)
        })
        .expect("no free ports in a row on 127.0.0.1 in 1000 tries")
}
