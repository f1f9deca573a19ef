//! The host's own addresses (getifaddrs(3)): what a listener on the unspecified address answers on, so what no upstream
//! may resolve into.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of every interface; empty when the kernel does not tell.
#[must_use]
pub(super) fn addresses() -> Vec<IpAddr> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is a live pointer that getifaddrs fills in; on success it is freed below, once.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut at = list;
    while !at.is_null() {
        // SAFETY: `at` is a node of the list that getifaddrs made and nobody has freed yet.
        let node = unsafe { &*at };
        found.extend(address(node.ifa_addr));
        at = node.ifa_next;
    }
    // SAFETY: the list came from getifaddrs and is not used any more: `found` holds copies.
    unsafe { libc::freeifaddrs(list) };
    found
}

fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: a non-null ifa_addr points to a sockaddr whose family says how large it is (getifaddrs(3)).
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in.
            let v4 = unsafe { &*address.cast::<libc::sockaddr_in>() };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a sockaddr_in6.
            let v6 = unsafe { &*address.cast::<libc::sockaddr_in6>() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_loopback_interface_is_among_them() {
        assert!(super::addresses().contains(&"127.0.0.1".parse().unwrap()));
    }
}
