//! Configurations with one mistake each, and what is said about it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::resolved::{ClientAddresses, Credentials, JwksSource, KernelConfig, Mode, Segment, Tenants, ToolMatch};
use super::*;

/// A configuration without mistakes, small enough to read.
const BASE: &str = r#"[listen]
address = "127.0.0.1:8080"
public_url = "https://acp.example.com/"

[[identity.issuer]]
issuer = "https://idp.example.com/"
audience = ["api"]

[[safety.rule]]
detect = ["us_ssn"]
action = "block"

[[usage.budget]]
per = "user"
max_spend = "500 USD"

[[upstream]]
name = "crm"
url = "http://crm.internal:8443/base/"

[[route]]
path = "/tools"
upstream = "crm"
[[route.tool]]
name = "crm/contacts"
match = { method = "POST", path = "contacts/*" }
verb = "read"
price = "0.002 USD"

[[route]]
path = "/tools/mail"
upstream = "crm"
protocol = "mcp"
[[route.tool]]
name = "mail/send"
verb = "write"
"#;

fn read(text: &str) -> Result<Config, Mistakes> {
    parse(text, Path::new("/nonexistent"))
}

/// Parses [`BASE`] with `from` replaced by `to` and expects exactly one mistake, at `key`, that says `words`.
#[track_caller]
fn check(from: &str, to: &str, key: &str, words: &str) {
    assert!(BASE.contains(from), "{from:?} is in the base");
    check_text(&BASE.replacen(from, to, 1), key, words);
}

/// The same with `lines` at the end.
#[track_caller]
fn check_added(lines: &str, key: &str, words: &str) {
    check_text(&format!("{BASE}{lines}"), key, words);
}

#[track_caller]
fn check_text(text: &str, key: &str, words: &str) {
    let mistakes = read(text).expect_err("a mistake").0;
    let [mistake] = mistakes.as_slice() else { panic!("one mistake, not {mistakes:#?}") };
    assert_eq!(mistake.key, key, "{mistake}");
    assert!(mistake.message.contains(words), "{words:?} in: {mistake}");
    assert!(mistake.line > 0 && mistake.column > 0, "{mistake}");
}

#[track_caller]
fn check_good(from: &str, to: &str) -> Config {
    read(&BASE.replacen(from, to, 1)).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn a_small_configuration_means_what_it_says() {
    let config = check_good("", "");
    assert_eq!(config.listen.public_url, "https://acp.example.com");
    assert_eq!((config.listen.head_bytes_max, config.listen.headers_max), (16 << 10, 64));
    assert_eq!((config.listen.body_bytes_max, config.listen.connections_max), (8 << 20, 10_000));
    assert_eq!(config.listen.idle_timeout, Duration::from_secs(75));
    let issuer = &config.identity.issuers[0];
    assert_eq!(&*issuer.name, "https://idp.example.com/");
    assert!(matches!((&issuer.jwks, &issuer.tenants), (JwksSource::Discovery, Tenants::Any)));
    assert_eq!(config.usage.budgets[0].max_spend_microusd, 500_000_000);
    assert_eq!(&*config.usage.budgets[0].id, "user");
    let upstream = &config.upstreams[0];
    assert_eq!((upstream.host.as_str(), upstream.port, upstream.base_path.as_str()), ("crm.internal", 8443, "/base"));
    let [mail, tools] = config.routes.as_slice() else { panic!("two routes") };
    assert_eq!((mail.path.as_str(), mail.index, mail.tools[0].index), ("/tools/mail", 0, 0));
    assert_eq!((tools.path.as_str(), tools.index, tools.tools[0].index), ("/tools", 1, 1));
    assert_eq!(mail.tools[0].matcher, ToolMatch::Mcp { name: "send".into() });
    let segments = vec![Segment::Literal("contacts".into()), Segment::Any];
    assert_eq!(tools.tools[0].matcher, ToolMatch::Http { method: "POST".into(), segments });
    assert_eq!((tools.tools[0].price_picousd, tools.body_bytes_max), (2_000_000_000, 8 << 20));
    assert!(!config.identity.dev_issuer);
}

#[test]
fn every_mistake_is_reported_at_once_with_its_place() {
    let text = BASE
        .replace("\"500 USD\"", "\"500\"")
        .replace("upstream = \"crm\"\nprotocol", "upstream = \"crn\"\nprotocol")
        .replace("verb = \"read\"", "verbs = \"read\"")
        .replace("127.0.0.1:8080", "localhost");
    let all = read(&text).unwrap_err().to_string();
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 5, "{all}");
    assert!(lines[0].starts_with("acp.toml:2:11: listen.address: \"localhost\" is no address; write"), "{all}");
    assert_eq!(lines[1], "acp.toml:15:13: usage.budget[0].max_spend: \"500\" has no currency; write \"500 USD\"");
    assert!(all.contains("route[1].upstream: \"crn\" is no upstream"), "{all}");
    assert!(all.contains("route[0].tool[0].verb: is missing; Verb of the scope"), "{all}");
    assert!(all.contains("route[0].tool[0].verbs: is unknown; known here: name, match, verb, price, labels"), "{all}");
}

/// What stands in for an unreadable value leads to no further mistake.
#[test]
fn what_cannot_be_read_is_reported_once() {
    for (from, to, key) in [
        ("127.0.0.1:8080", "localhost", "listen.address"),
        ("audience = [\"api\"]", "audience = \"api\"", "identity.issuer[0].audience"),
        ("issuer = \"https://idp.example.com/\"", "issuer = 1", "identity.issuer[0].issuer"),
        ("detect = [\"us_ssn\"]", "detect = [\"ssn\"]", "safety.rule[0].detect[0]"),
        ("action = \"block\"", "action = \"bloc\"", "safety.rule[0].action"),
        ("per = \"user\"", "per = \"users\"", "usage.budget[0].per"),
        ("\"500 USD\"", "500", "usage.budget[0].max_spend"),
        ("url = \"http://crm.internal:8443/base/\"", "url = 5", "upstream[0].url"),
        ("path = \"/tools\"", "path = 5", "route[0].path"),
        ("match = { method = \"POST\", path = \"contacts/*\" }", "match = \"POST\"", "route[0].tool[0].match"),
        ("price = \"0.002 USD\"", "price = 0.002", "route[0].tool[0].price"),
        ("protocol = \"mcp\"", "protocol = \"mpc\"", "route[1].protocol"),
    ] {
        check(from, to, key, "");
    }
}

#[test]
fn references_are_checked_beside_each_other() {
    let text = BASE.replace("upstream = \"crm\"", "upstream = \"crn\"").replace("\"500 USD\"", "\"0.001 USD\"");
    let all = read(&text).unwrap_err().to_string();
    assert_eq!(all.lines().count(), 3, "{all}");
    assert!(all.contains("route[0].upstream: \"crn\" is no upstream; there are: crm"), "{all}");
    assert!(all.contains("usage.budget[0].max_spend: is less than one call of \"crm/contacts\""), "{all}");
}

/// A dry run of everything shows as a number that can be watched.
#[test]
fn need_b01_what_is_enforced_is_counted() {
    let enforced = |text: &str| read(text).unwrap_or_else(|mistakes| panic!("{mistakes}")).enforced_rules();
    let all = enforced(BASE);
    assert!(all >= 3, "the policies, a content rule and a budget: {all}");
    let observed = BASE.replace("action = \"block\"", "action = \"block\"\nmode = \"observe\"");
    assert_ne!(observed, BASE);
    assert_eq!(enforced(&observed), all - 1);
}

#[test]
fn syntax_errors_have_lines_too() {
    let all = read("[listen]\naddress = \n").unwrap_err().to_string();
    assert!(all.starts_with("acp.toml:2:"), "{all}");
    assert!(read(&format!("x = {}1{}", "[".repeat(1000), "]".repeat(1000))).is_err());
    assert!(read(&"#".repeat((1 << 20) + 1)).unwrap_err().to_string().contains("larger than"));
}

#[test]
fn tls_is_refused_and_never_ignored() {
    check("public_url", "tls = { cert = \"c\", key = \"k\" }\npublic_url", "listen.tls", "TLS is not available yet");
    check("http://crm", "https://crm", "upstream[0].url", "TLS to upstreams is not available yet");
}

#[test]
fn need_b10_secrets_are_refused_inline() {
    let inline = "name = \"crm\"\ncredentials = { mode = \"none\", token = \"s3cret\" }\n";
    check("name = \"crm\"\n", inline, "upstream[0].credentials.token", "secrets do not belong in this file");
    check("http://crm", "http://user:pw@crm", "upstream[0].url", "secrets do not belong in this file");
    let all = read(&BASE.replacen("name = \"crm\"\n", inline, 1)).unwrap_err().to_string();
    assert!(!all.contains("s3cret"), "{all}");
}

#[test]
fn tools_that_can_never_match_are_mistakes() {
    let tool = |name: &str, matcher: &str| {
        format!(
            "[[route.tool]]\nname = \"{name}\"\nmatch = {matcher}\nverb = \"read\"\n\n[[route]]\npath = \"/tools/mail\""
        )
    };
    let add = |name: &str, matcher: &str, key: &str, words: &str| {
        check("[[route]]\npath = \"/tools/mail\"", &tool(name, matcher), key, words);
    };
    let shadowed = r#"{ method = "POST", path = "contacts/me" }"#;
    add("crm/me", shadowed, "route[0].tool[1].match", "\"crm/contacts\" before it takes everything");
    add(
        "crm/mail",
        r#"{ method = "GET", path = "mail/x" }"#,
        "route[0].tool[1].match.path",
        "\"/tools/mail\" is longer",
    );
    add("crm/contacts", r#"{ method = "GET" }"#, "route[0].tool[1].name", "is used before");
    add("crm_Contacts", r#"{ method = "GET" }"#, "route[0].tool[1].name", "reads like \"crm/contacts\"");
    add("crm/x", r#"{ method = "GET", path = "a/../b" }"#, "route[0].tool[1].match.path", "\"..\" is no plain segment");
    add("crm/x", r#"{ method = "GET", path = "**" }"#, "route[0].tool[1].match.path", "no plain segment");
    add("crm/x", r#"{ method = "get" }"#, "route[0].tool[1].match.method", "upper case");
    add("crm/x", r#"{ method = "PURGE" }"#, "route[0].tool[1].match.method", "GET, HEAD, POST");
    add("crm/x", r#"{ path = "a" }"#, "route[0].tool[1].match.method", "is missing");
    add("crm/x", r#"{ method = "GET", tool = "x" }"#, "route[0].tool[1].match.tool", "is for MCP routes");
    add("crm x", r#"{ method = "GET" }"#, "route[0].tool[1].name", "letters, digits");
}

#[test]
fn routes_name_plain_paths_once() {
    check("\"/tools/mail\"", "\"/tools\"", "route[1].path", "is used before");
    for bad in ["tools", "/tools/", "/a//b", "/a/../b", "/a%2fb", "", "/a b"] {
        let all = read(&BASE.replace("\"/tools/mail\"", &format!("{bad:?}"))).unwrap_err().to_string();
        assert!(all.contains("route[1].path: is no plain path"), "{bad}: {all}");
    }
    check("protocol = \"mcp\"", "protocol = \"openai\"", "route[1].protocol", "one of \"http\", \"mcp\"");
    check(
        "protocol = \"mcp\"",
        "protocol = \"mcp\"\nresponse_headers = [\"Connection\"]",
        "route[1].response_headers[0]",
        "never passed on",
    );
    check(
        "protocol = \"mcp\"",
        "protocol = \"mcp\"\nbody_bytes_max = \"65 MiB\"",
        "route[1].body_bytes_max",
        "could never be buffered",
    );
    check("protocol = \"mcp\"", "protocol = \"mcp\"\nscopes = [\"a b\"]", "route[1].scopes[0]", "is no scope");
}

#[test]
fn upstreams_open_private_addresses_by_name_only() {
    for (url, words) in [
        ("http://10.1.2.3", "write allow_private = [\"10.1.2.3\"]"),
        ("http://127.0.0.1:9000", "write allow_loopback = [\"127.0.0.1:9000\"]"),
        ("http://localhost", "list it in allow_loopback"),
        ("http://169.254.169.254", "metadata"),
        ("http://[fe80::1]", "link-local"),
        ("http://127.0.0.1:8080", "the gateway's own listener"),
        ("http://127.0.0.1:9900", "the gateway's own listener"),
        ("http://127.1", "is no host"),
        ("crm.internal", "is no URL"),
    ] {
        check("http://crm.internal:8443/base/", url, "upstream[0].url", words);
    }
    for (cidr, words) in [
        ("0.0.0.0/0", "never opened"),
        ("169.254.0.0/16", "never opened"),
        ("127.0.0.0/8", "allow_loopback"),
        ("::1", "allow_loopback"),
        ("100.100.100.200", "never opened"),
        ("10.0.0.1/8", "write \"10.0.0.0/8\""),
    ] {
        check(
            "url = \"http:",
            &format!("allow_private = [\"{cidr}\"]\nurl = \"http:"),
            "upstream[0].allow_private[0]",
            words,
        );
    }
    check(
        "url = \"http:",
        "allow_loopback = [\"10.0.0.1:80\"]\nurl = \"http:",
        "upstream[0].allow_loopback[0]",
        "no loopback address",
    );
    check_good(
        "url = \"http://crm.internal:8443/base/\"",
        "url = \"http://10.1.2.3\"\nallow_private = [\"10.0.0.0/8\"]",
    );
    // The listener's port on another host is not the listener.
    let everywhere = BASE.replace("127.0.0.1:8080", "0.0.0.0:8080");
    let elsewhere = "url = \"http://10.1.2.3:8080\"\nallow_private = [\"10.0.0.0/8\"]";
    assert!(read(&everywhere.replace("url = \"http://crm.internal:8443/base/\"", elsewhere)).is_ok());
    check_text(
        &everywhere.replace("http://crm.internal:8443/base/", "http://127.0.0.1:8080"),
        "upstream[0].url",
        "the gateway's own listener",
    );
}

#[test]
fn tokens_are_not_forwarded_to_mcp() {
    let credentials = |with: &str| format!("name = \"crm\"\ncredentials = {{ mode = {with} }}\n");
    check("name = \"crm\"\n", &credentials("\"forward\""), "route[1].upstream", "which MCP forbids");
    check(
        "name = \"crm\"\n",
        &credentials("\"none\", file = \"f\""),
        "upstream[0].credentials.file",
        "with mode = \"service\" only",
    );
    check(
        "name = \"crm\"\n",
        &credentials("\"service\""),
        "upstream[0].credentials.file",
        "has to say where the secret is",
    );
    check("name = \"crm\"\n", &credentials("\"exchange\""), "upstream[0].credentials.mode", "one of");
}

#[test]
fn threat_a07_issuers_say_which_tenants_they_speak_for() {
    let second = "[[identity.issuer]]\nissuer = \"https://b.example.com/\"\naudience = [\"api\"]\n";
    let all = read(&format!("{BASE}{second}")).unwrap_err().to_string();
    assert!(
        all.contains("identity.issuer[0].tenants: is missing")
            && all.contains("identity.issuer[1].tenants: is missing"),
        "{all}"
    );
    let listed = BASE.replace("audience = [\"api\"]", "audience = [\"api\"]\ntenants = [\"a\"]");
    assert!(read(&format!("{listed}{second}tenant = \"b\"\n")).is_ok());
    check_text(
        &format!("{listed}{second}tenants = [\"*\"]\n"),
        "identity.issuer[1].tenants",
        "several issuers are trusted",
    );
    check("[\"api\"]", "[\"api\"]\ntenants = [\"*\", \"a\"]", "identity.issuer[0].tenants", "any tenant already");
    check(
        "[\"api\"]",
        "[\"api\"]\ntenants = [\"a\"]\ntenant = \"a\"",
        "identity.issuer[0].tenant",
        "exclude each other",
    );
    check("[\"api\"]", "[]", "identity.issuer[0].audience", "is empty");
    check("https://idp", "http://idp", "identity.issuer[0].issuer", "would fetch keys in clear");
    check("[\"api\"]", "[\"api\"]\njwks = \"http://keys/\"", "identity.issuer[0].jwks", "would fetch keys in clear");
    check("https://idp.example.com/", "http://127.0.0.1:4444/", "identity.issuer[0].issuer", "is on loopback");
    let dev = BASE.replacen("https://idp.example.com/", "http://127.0.0.1:4444/", 1);
    let dev = parse_dev(&dev, Path::new("/nonexistent")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(dev.identity.dev_issuer);
    let config = check_good("[\"api\"]", "[\"api\"]\njwks = \"keys.json\"");
    let JwksSource::File(file) = &config.identity.issuers[0].jwks else { panic!("a file") };
    assert_eq!(file, Path::new("/nonexistent/keys.json"));
}

#[test]
fn metadata_that_challenges_name_is_https() {
    let metadata = |url: &str| format!("[identity]\nresource_metadata = \"{url}\"\n[[identity.issuer]]");
    let config =
        check_good("[[identity.issuer]]", &metadata("https://acp.example.com/.well-known/oauth-protected-resource"));
    assert!(config.identity.resource_metadata.is_some_and(|url| url.ends_with("/oauth-protected-resource")));
    for (url, words) in [("http://acp.example.com/x", "has to be https"), ("metadata", "is no URL")] {
        check("[[identity.issuer]]", &metadata(url), "identity.resource_metadata", words);
    }
}

#[test]
fn content_rules_that_never_act_are_mistakes() {
    check_added(
        "[[safety.rule]]\ndetect = [\"us_ssn\"]\naction = \"redact\"\n",
        "safety.rule[1].detect",
        "never acts: safety.rule.0",
    );
    check_added(
        "[[safety.rule]]\ndetect = [\"us_ssn\"]\naction = \"block\"\nroutes = [\"/tools\"]\n",
        "safety.rule[1].detect",
        "never acts",
    );
    check_added(
        "[[safety.rule]]\ndetect = [\"email\"]\naction = \"mask\"\nroutes = [\"/tool\"]\n",
        "safety.rule[1].routes[0]",
        "is no route; there are: /tools/mail, /tools",
    );
    check_added(
        "[[safety.rule]]\ndetect = [\"secret\"]\naction = \"mask\"\n",
        "safety.rule[1].detect[0]",
        "is no type and no group; there are: all, secrets",
    );
    check_added("[[safety.rule]]\ndetect = []\naction = \"mask\"\n", "safety.rule[1].detect", "would never act");
    let email = "[[safety.rule]]\ndetect = [\"email\"]\naction = \"mask\"\n";
    check_added(&format!("{email}tools = [\"crm/none\"]\n"), "safety.rule[1].tools[0]", "is no tool; there are: ");
    check_added(
        &format!("{email}upstreams = [\"none\"]\n"),
        "safety.rule[1].upstreams[0]",
        "is no upstream; there are: ",
    );
    check_added(&format!("{email}min_confidence = 101\n"), "safety.rule[1].min_confidence", "between 0 and 100");
    check_added(
        "[[safety.rule]]\ndetect = [\"us_ssn\"]\naction = \"block\"\nmin_confidence = 50\n",
        "safety.rule[1].detect",
        "never acts: safety.rule.0",
    );
    check_added("[safety]\nblock_score = 101\n", "safety.block_score", "between 1 and 100");
    let observed = "[[safety.rule]]\ndetect = [\"us_ssn\"]\naction = \"redact\"\nmode = \"observe\"\n";
    assert!(read(&format!("{BASE}{observed}")).is_ok());
}

#[test]
fn custom_forms_are_bounded_and_used() {
    let form = |regex: &str, more: &str| format!("[[safety.detector]]\ntype = \"custom1\"\nregex = '{regex}'\n{more}");
    let rule = "[[safety.rule]]\ndetect = [\"custom1\"]\naction = \"redact\"\n";
    let detector = |regex: &str, key: &str, words: &str| {
        check_added(&form(regex, ""), &format!("safety.detector[0].{key}"), words)
    };
    assert!(
        read(&format!("{BASE}{}{rule}", form("EMP-[0-9]{6}", "context = [\"badge\"]\nvalidator = \"LUHN\"\n"))).is_ok()
    );
    detector("EMP-[0-9]{6", "regex", "is no regex");
    detector("(?=x)y{4}", "regex", "is no regex");
    detector("[0-9]+", "regex", "fewer than 4 bytes");
    detector("E[0-9]{4,}", "regex", "more than 256 bytes");
    detector(r"(\w{10}-?){4,8}", "regex", "more than 256 bytes");
    detector(r"\pL{50}", "regex", "costs too much");
    check_added(
        &form("x{4}", "validator = \"NONE\"\n"),
        "safety.detector[0].validator",
        "is no validator; there are: ",
    );
    check_added(&form("x{4}", "confidence = 0\n"), "safety.detector[0].confidence", "between 1 and 100");
    check_added(&form("x{4}", "").replace("custom1", "custom9"), "safety.detector[0].type", "is no custom type");
    check_added(rule, "safety.rule[1].detect[0]", "is never found");
}

#[test]
fn tokens_need_keys_and_permits_somebody() {
    let rule = "[[safety.rule]]\ndetect = [\"email\"]\naction = \"tokenize\"\n";
    check_added(rule, "safety.rule[1].action", "add [[safety.tokens.key]]");
    let missing = "[[safety.tokens.key]]\nid = \"k1\"\nfile = \"none.key\"\n";
    check_added(missing, "safety.tokens.key[0].file", "cannot read");
    check_added("[[safety.tokens.key]]\nid = \"k1\"\n", "safety.tokens.key[0].file", "has to say where the secret is");

    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("good.key");
    fs::write(&key, "0a".repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let keys = |id: &str| format!("[[safety.tokens.key]]\nid = \"{id}\"\nfile = \"good.key\"\n");
    let said =
        |text: &str| parse(&format!("{BASE}{text}"), dir.path()).map(|_| ()).map_err(|mistakes| mistakes.to_string());
    assert_eq!(said(&format!("{}{rule}", keys("k1"))), Ok(()));
    let permit = |tool: &str, more: &str| {
        format!(
            "{}[[safety.detokenize]]\ndetect = [\"us_ssn\"]\ntools = [\"{tool}\"]\npointers = [\"/ssn\"]\n{more}",
            keys("k1")
        )
    };
    assert_eq!(said(&permit("crm/contacts", "roles = [\"billing\"]\n")), Ok(()));
    for (text, words) in [
        (keys("K-1"), "a to z and 0 to 9"),
        (format!("{}{}", keys("k1"), keys("k1")), "is used before"),
        (permit("crm/contacts", ""), "whose calls carry the values"),
        (permit("crm/none", "subjects = [\"x\"]\n"), "is no tool"),
        (permit("crm/contacts", "roles = [\"x\"]\n").replace("\"/ssn\"", "\"ssn\""), "is no JSON pointer"),
        (permit("crm/contacts", "roles = [\"x\"]\n").replace("[\"/ssn\"]", "[]"), "names no pointer"),
    ] {
        let mistakes = said(&text).expect_err(words);
        assert!(mistakes.contains(words) && mistakes.lines().count() == 1, "{words:?} in {mistakes}");
    }
}

#[test]
fn limits_and_budgets_have_to_be_able_to_act() {
    let limit = |lines: &str| format!("[[usage.rate_limit]]\nper = \"user\"\nwindow = \"1m\"\n{lines}\n");
    check_added(&limit("requests = 0"), "usage.rate_limit[0].requests", "between 1 and");
    check_added(&limit("requests = 10\nburst = 11"), "usage.rate_limit[0].burst", "between 1 and requests, 10");
    check_added(&(limit("requests = 10") + &limit("requests = 20")), "usage.rate_limit[1].window", "only the smaller");
    check_added(&limit("requests = 10\nid = \"\""), "usage.rate_limit[0].id", "visible ASCII");
    check("\"500 USD\"", "\"0 USD\"", "usage.budget[0].max_spend", "is nothing");
    check("\"500 USD\"", "\"1.0000001 USD\"", "usage.budget[0].max_spend", "micro-dollar");
    check("\"500 USD\"", "500", "usage.budget[0].max_spend", "has no currency");
    check("price = \"0.002 USD\"", "", "usage.budget[0]", "no tool has a price");
    check_added(
        "[usage.loop_guard]\nidentical_calls = 1\nwindow = \"30s\"\n",
        "usage.loop_guard.identical_calls",
        "between 2 and",
    );
    let guard = |lines: &str| format!("[usage.loop_guard]\nidentical_calls = 3\nwindow = \"30s\"\n{lines}\n");
    let after = "usage.loop_guard.quarantine_after";
    check_added(&guard("quarantine_after = 1"), after, "between 2 and");
    check_added(&guard("quarantine_after = 5\nmode = \"observe\""), after, "never comes");
    let long = guard("quarantine_after = 5\nquarantine_for = \"31d\"");
    check_added(&long, "usage.loop_guard.quarantine_for", "between \"1s\" and");
    let two = format!("{BASE}{}{}", limit("requests = 10"), limit("requests = 20").replace("1m", "1h"));
    let ids: Vec<String> = read(&two).unwrap().usage.rate_limits.iter().map(|limit| limit.id.to_string()).collect();
    assert_eq!(ids, ["user", "user-2"]);
}

#[test]
fn declared_sources_belong_to_one_tenant_and_can_be_refused() {
    let source = |cidr: &str| format!("[[kernel.source]]\ncidr = \"{cidr}\"\ntenant = \"a\"\n");
    check_added(&source("127.0.0.2/32"), "kernel.source[0].cidr", "is loopback");
    check_added(
        &(source("198.51.100.0/28") + &source("198.51.100.0/28")),
        "kernel.source[1].cidr",
        "belongs to one tenant",
    );
    check_added(
        &(source("198.51.100.0/28") + "issuer = \"x\"\n"),
        "kernel.source[0].issuer",
        "there are: https://idp.example.com/",
    );
    let proxied = BASE.replace("public_url", "trusted_proxies = [\"198.51.100.0/24\"]\npublic_url");
    check_text(&(proxied + &source("198.51.100.0/28")), "kernel.source[0].cidr", "overlaps listen.trusted_proxies[0]");
    let listed = BASE.replace("[\"api\"]", "[\"api\"]\ntenants = [\"b\"]");
    check_text(&(listed + &source("198.51.100.0/28")), "kernel.source[0].tenant", "would never be refused");
    let config = read(&format!("{BASE}[kernel]\nloopback = true\n{}", source("127.0.0.2"))).unwrap();
    assert_eq!(config.kernel.sources[0].cidr.prefix, 32);
}

#[test]
fn threat_a01_a_source_is_learned_over_ten_minutes_at_least_but_in_tests() {
    let kernel = |keys: &str| format!("[kernel]\n{keys}\n");
    check_added(&kernel("learned_after = \"9m\""), "kernel.learned_after", "between \"10m\" and \"24h\"");
    let config = read(&format!("{BASE}{}", kernel("loopback = true\nlearned_after = \"1s\""))).unwrap();
    assert_eq!(config.kernel.learned_after.as_secs(), 1);
    let KernelConfig { client_addresses, penalties, learned_after, .. } = read(BASE).unwrap().kernel;
    assert_eq!((client_addresses, penalties), (ClientAddresses::Unknown, Mode::Enforce));
    assert_eq!(learned_after.as_nanos(), u128::from(crate::kernel::book::LEARNED_NS));
}

#[test]
fn bounds_hold_together() {
    let listen = |line: &str| format!("{line}\npublic_url");
    check("public_url", &listen("body_bytes_max = \"65 MiB\""), "listen.body_bytes_max", "could never be buffered");
    check(
        "public_url",
        &listen("buffered_bytes_per_tenant_max = \"257 MiB\""),
        "listen.buffered_bytes_per_tenant_max",
        "would never act",
    );
    check("public_url", &listen("headers_max = 257"), "listen.headers_max", "between 8 and 256");
    check("public_url", &listen("head_timeout = 10"), "listen.head_timeout", "write \"10s\"");
    check("public_url", &listen("body_bytes_max = \"8 MB\""), "listen.body_bytes_max", "binary unit");
    check("public_url", &listen("workers = -1"), "listen.workers", "whole number");
    check_added("[admin]\nmetrics = \"0.0.0.0:9900\"\n", "admin.metrics", "loopback");
    check_added("[admin]\nmetrics = \"127.0.0.1:8080\"\n", "admin.metrics", "also listen.address");
    check_added("[audit]\nring_bytes = \"1 KiB\"\n", "audit.ring_bytes", "between \"64 KiB\" and \"1 GiB\"");
    check_added("[policy]\nscope_rule = false\n", "policy.files", "nothing would ever be permitted");
}

#[test]
fn need_b10_policy_files_and_credentials_come_from_beside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, token) = (dir.path().join("acp.toml"), dir.path().join("token"));
    let lines = "[policy]\nfiles = [\"policies/*.cedar\"]\n";
    let service = "name = \"crm\"\ncredentials = { mode = \"service\", scheme = \"Bearer\", file = \"token\" }\n";
    fs::write(&path, format!("{}{lines}", BASE.replacen("name = \"crm\"\n", service, 1))).unwrap();
    let all = load(&path).unwrap_err().to_string();
    assert!(
        all.contains("policy.files[0]: cannot read the folder") && all.contains("credentials.file: cannot read"),
        "{all}"
    );

    fs::create_dir(dir.path().join("policies")).unwrap();
    fs::write(dir.path().join("policies/b.cedar"), "// b").unwrap();
    fs::write(dir.path().join("policies/a.cedar"), "// a").unwrap();
    fs::write(&token, "s3cret\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let config = load(&path).unwrap();
    let texts: Vec<&str> = config.policy.sources.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["// a", "// b"]);
    let Credentials::Service { header, value, file } = &config.upstreams[0].credentials else {
        panic!("a service credential")
    };
    assert_eq!((header.as_str(), value.expose(), file), ("authorization", &b"Bearer s3cret"[..], &token));

    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("holds a secret that anybody can read"));
}

#[test]
fn threat_a29_a_set_counts_when_it_reads_the_same_twice() {
    let settle = |digests: &[u8]| {
        let mut readings = digests.iter();
        let settled = until_stable(|| readings.next().map_or((0, [0; 32]), |&digest| (digest, [digest; 32])));
        (settled, digests.len() - readings.len())
    };
    assert_eq!(settle(&[1, 1, 9]), (Some(1), 2));
    assert_eq!(settle(&[1, 2, 1, 1]), (Some(1), 4));
    assert_eq!(settle(&[1, 2, 3, 4, 5, 6, 7, 8]), (None, READINGS_MAX));
}

#[test]
fn threat_a29_a_file_that_strangers_can_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("acp.toml");
    fs::write(&path, BASE).unwrap();
    assert!(load(&path).is_ok());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("written by anybody"));
    assert!(load(&dir.path().join("none")).unwrap_err().to_string().contains("cannot read"));
}
