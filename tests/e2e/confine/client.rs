//! A client that is linked statically: it shares nothing with the host but the kernel. Prints what becomes of a connection
//! to each address it is given.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn main() {
    for address in std::env::args().skip(1) {
        let to: SocketAddr = address.parse().expect("an address");
        match TcpStream::connect_timeout(&to, Duration::from_secs(2)) {
            Ok(_) => println!("ok"),
            Err(error) => println!("{:?}", error.kind()),
        }
    }
}
