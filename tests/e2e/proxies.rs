//! Behind proxies: whose word for the client's address reaches the log.

use crate::backend::{Backend, Then, raw};
use crate::client::post;
use crate::site::{Extra, Gateway, Site, crm, token};

fn backend() -> Backend {
    Backend::start(|_, stream| {
        raw(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
        Then::Keep
    })
}

fn site(backend: &Backend, listen: &str) -> Site {
    let sections = format!(
        r#"
{crm}
[[route.tool]]
name = "crm/contacts"
match = {{ method = "POST", path = "contacts" }}
verb = "read"
"#,
        crm = crm(backend)
    );
    Site::new(&Extra { listen, sections: &sections, ..Extra::default() })
}

/// A call with these bytes before it and these fields in it; the address that its record has.
#[track_caller]
fn address_of(site: &Site, gateway: &Gateway, before: &[u8], fields: &str) -> String {
    let call = post("/tools/crm/contacts", &token("auth0|alice"), "{}").replacen("\r\n", &format!("\r\n{fields}"), 1);
    let answer = gateway.ask([before, call.as_bytes()].concat());
    assert_eq!(answer.status, 200, "{answer:?}");
    site.record(&answer.id())["client_address"].as_str().expect("an address").to_owned()
}

/// PROXY, version 2, TCP over IPv4: 203.0.113.9 port 4711.
const INTRODUCTION: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\x01\xbb";

#[test]
fn need_b05_a_trusted_proxy_names_the_client_and_nobody_else_does() {
    let backend = backend();
    let site = site(&backend, "trusted_proxies = [\"127.9.0.0/16\"]");
    let gateway = site.start();
    let named = "X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\n";
    assert_eq!(address_of(&site, &gateway, b"", named), "203.0.113.9");
    assert!(address_of(&site, &gateway, b"", "").starts_with("127.9."));
    gateway.stop();

    let site = self::site(&backend, "trusted_proxies = [\"192.0.2.1/32\"]");
    let gateway = site.start();
    assert!(address_of(&site, &gateway, b"", named).starts_with("127.9."), "not from this peer");
    let refused = gateway.ask([INTRODUCTION, b"GET / HTTP/1.1\r\n\r\n"].concat());
    assert_eq!(refused.status, 400, "no header is read where none is promised");
    gateway.stop();
}

#[test]
fn need_b05_a_balancer_introduces_each_connection_where_that_is_promised() {
    let backend = backend();
    let site = site(&backend, "trusted_proxies = [\"127.9.0.0/16\"]\nproxy_protocol = true");
    let gateway = site.start();
    assert_eq!(address_of(&site, &gateway, INTRODUCTION, ""), "203.0.113.9:4711");
    let further = "X-Forwarded-For: 198.51.100.1\r\n";
    assert_eq!(address_of(&site, &gateway, INTRODUCTION, further), "203.0.113.9:4711", "not a proxy's word");

    let mut client = gateway.connect();
    let refused = client.ask(post("/tools/crm/contacts", &token("auth0|alice"), "{}"));
    assert_eq!((refused.status, refused.code().as_str()), (400, "malformed_request"));
    client.assert_closed();
    let record = site.record(&refused.id());
    assert!(record["detail"].as_str().is_some_and(|detail| detail.contains("PROXY")), "{record}");
    gateway.stop();
}
