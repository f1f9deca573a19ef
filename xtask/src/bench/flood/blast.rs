//! SYNs as fast as one core can make them: what a packet costs where packets are what comes. Each is whole, with
//! checksums, so that what is not dropped in front of the network stack goes all the way to the listener.
//!
//! Nothing is waited for and nothing is believed of what was sent: the programs are counted where they run.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::super::sys;
use super::wire;

/// Frames that are sent over and over, each from a port of its own.
const FRAMES: u16 = 256;
const FIRST_PORT: u16 = 20_000;

/// What to send where. Given on the command line of the hidden `blast` part.
#[derive(clap::Args, Clone, Debug)]
pub(in crate::bench) struct Args {
    /// The gateway.
    #[arg(long)]
    pub(super) target: SocketAddrV4,
    /// Network namespace to send from.
    #[arg(long)]
    pub(super) netns: String,
    /// For how long, milliseconds.
    #[arg(long)]
    pub(super) window_ms: u64,
}

impl Args {
    /// The command line that parses to these arguments.
    pub(super) fn to_command_line(&self) -> Vec<String> {
        let Self { target, netns, window_ms } = self;
        ["--target", &target.to_string(), "--netns", netns, "--window-ms", &window_ms.to_string()]
            .map(str::to_owned)
            .into()
    }
}

/// Sends, and prints how many frames went out in how many nanoseconds.
///
/// # Errors
/// When the namespace or the interface is not there.
#[expect(clippy::print_stdout, reason = "the parent process reads it there")]
pub(in crate::bench) fn run(args: &Args) -> Result<()> {
    sys::enter_network(&args.netns).with_context(|| format!("entering {}", args.netns))?;
    let socket = sys::packet_socket(wire::PEER).with_context(|| format!("sending on {}", wire::PEER))?;
    let frames: Vec<Vec<u8>> = (0..FRAMES).map(|n| syn(wire::OFFENDER, FIRST_PORT + n, args.target)).collect();
    let (start, mut sent) = (Instant::now(), 0_u64);
    while start.elapsed() < Duration::from_millis(args.window_ms) {
        sent += sys::send_frames(&socket, &frames).context("sending frames")? as u64;
    }
    println!("{sent} {}", start.elapsed().as_nanos());
    Ok(())
}

/// A frame with a SYN from the offender's end of the wire.
fn syn(source: Ipv4Addr, port: u16, target: SocketAddrV4) -> Vec<u8> {
    let mut tcp = vec![0; 20];
    tcp[..2].copy_from_slice(&port.to_be_bytes());
    tcp[2..4].copy_from_slice(&target.port().to_be_bytes());
    (tcp[12], tcp[13], tcp[14]) = (0x50, 0x02, 0xff);
    let mut pseudo = [source.octets(), target.ip().octets(), [0, 6, 0, 20]].concat();
    pseudo.extend(&tcp);
    tcp[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let mut ip = vec![0; 20];
    (ip[0], ip[3], ip[6], ip[8], ip[9]) = (0x45, 40, 0x40, 64, 6);
    ip[12..16].copy_from_slice(&source.octets());
    ip[16..20].copy_from_slice(&target.ip().octets());
    let sum = checksum(&ip).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    [&wire::GATEWAY_MAC[..], &[2, 0, 0, 0, 0, 2], &[0x08, 0x00], &ip, &tcp].concat()
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_a_frame_are_right() {
        let frame = syn(Ipv4Addr::new(10, 0, 0, 1), 20_001, "10.0.0.2:8080".parse().expect("an address"));
        assert_eq!(frame.len(), 54);
        assert_eq!(checksum(&frame[14..34]), 0, "a header with its checksum sums up to nothing");
        let pseudo = [&frame[26..34], &[0, 6, 0, 20], &frame[34..]].concat();
        assert_eq!(checksum(&pseudo), 0);
        // RFC 1071 §3's example.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }
}
