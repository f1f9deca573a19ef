//! Whose XDP program an interface has: asked of rtnetlink(7), which needs no privilege.

use std::io::{self, Read};

use aya::programs::loaded_programs;
use socket2::{Domain, Protocol, Socket, Type};

/// `RTM_GETLINK` of one interface: a netlink header and an `ifinfomsg` (linux/netlink.h, linux/rtnetlink.h).
const REQUEST_BYTES: usize = 32;
const HEADER_BYTES: usize = 16;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
/// linux/if_link.h.
const IFLA_XDP: u16 = 43;
const IFLA_XDP_PROG_ID: u16 = 4;
/// An interface's description is a few kilobytes; virtual functions can make it more.
const ANSWER_BYTES: usize = 64 * 1024;

/// The XDP program on the interface, as it can be told apart: by its id, and its name where that may be asked.
pub(super) fn of(index: u32) -> io::Result<Option<String>> {
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_ROUTE)))?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
    socket.send(&request(index))?;
    let mut answer = vec![0; ANSWER_BYTES];
    let length = (&socket).read(&mut answer)?;
    Ok(program_id(&answer[..length]).map(describe))
}

fn request(index: u32) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    bytes[..4].copy_from_slice(&(REQUEST_BYTES as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    bytes[HEADER_BYTES + 4..HEADER_BYTES + 8].copy_from_slice(&index.to_ne_bytes());
    bytes
}

/// The id in an answer; 0 is none.
fn program_id(answer: &[u8]) -> Option<u32> {
    let kind = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
    let attributes = answer.get(REQUEST_BYTES..).filter(|_| kind == RTM_NEWLINK)?;
    let xdp = attribute(attributes, IFLA_XDP)?;
    let id = u32::from_ne_bytes(*attribute(xdp, IFLA_XDP_PROG_ID)?.first_chunk()?);
    (id != 0).then_some(id)
}

/// The value of the first attribute of this type (linux/netlink.h: length with its four bytes of header, type, value,
/// filled up to four bytes).
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    const TYPE: u16 = 0x3fff;
    loop {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & TYPE;
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn describe(id: u32) -> String {
    let named = loaded_programs().flatten().find(|program| program.id() == id);
    match named.as_ref().and_then(|program| program.name_as_str()) {
        Some(name) if !name.is_empty() => format!("{name:?} (id {id})"),
        _ => format!("id {id}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_attributes(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in attributes {
            bytes.extend((value.len() as u16 + 4).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn the_id_is_found_among_other_attributes() {
        let xdp = with_attributes(&[(2, &[1]), (IFLA_XDP_PROG_ID, &7_u32.to_ne_bytes())]);
        let mut answer = request(1).to_vec();
        answer[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
        let none = answer.clone();
        answer.extend(with_attributes(&[(3, b"eth0\0"), (IFLA_XDP | 0x8000, &xdp), (4, &[0; 4])]));
        assert_eq!(program_id(&answer), Some(7));
        assert_eq!(program_id(&none), None);
        (0..answer.len() - 8).for_each(|end| assert_eq!(program_id(&answer[..end]), None));
    }

    #[test]
    fn loopback_has_no_program_unless_somebody_gave_it_one() {
        let index = 1;
        let found = of(index).expect("netlink answers");
        assert_eq!(found, None, "index 1 is loopback");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(kind) = bytes.get_mut(4..6) {
                kind.copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
            }
            let _ = program_id(&bytes);
        }
    }
}
