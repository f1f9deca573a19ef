//! Policy as its callers see it: configuration and call in, decision out.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::fixtures::{http_tool, identity, identity_of, issuer, route, screened};
use super::*;
use crate::config::resolved::{ContentAction, Detector, PolicyConfig};

/// A CRM of three tools, and a wiki of one.
struct World {
    routes: Vec<Arc<Route>>,
    set: PolicySet,
    cache: DecisionCache,
}

fn routes() -> Vec<Arc<Route>> {
    let crm = vec![
        http_tool(0, "crm/contacts", "read", "POST", "contacts"),
        http_tool(1, "crm/delete", "write", "DELETE", "contacts/*"),
        http_tool(2, "crm/export", "export", "POST", "export"),
    ];
    let wiki = vec![http_tool(3, "wiki/search", "read", "GET", "search")];
    vec![Arc::new(route(0, "/tools/crm", &[], crm)), Arc::new(route(1, "/tools/wiki", &["wiki", "tools"], wiki))]
}

fn compile(text: &str) -> Result<PolicySet, PolicyMistakes> {
    compile_for(text, &["idp"], true)
}

fn compile_for(text: &str, issuers: &[&str], scope_rule: bool) -> Result<PolicySet, PolicyMistakes> {
    let config = PolicyConfig { sources: vec![("test.cedar".into(), text.into())], scope_rule, mode: Mode::Enforce };
    let issuers: Vec<_> = issuers.iter().map(|name| issuer(name)).collect();
    PolicySet::compile(&config, &issuers, &routes())
}

impl World {
    #[track_caller]
    fn new(text: &str) -> Self {
        let set = compile(text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Self { routes: routes(), set, cache: DecisionCache::new() }
    }

    fn tool(&self, name: &str) -> Arc<Tool> {
        let mut tools = self.routes.iter().flat_map(|route| &route.tools);
        Arc::clone(tools.find(|tool| &*tool.name == name).unwrap())
    }

    fn ruling(&mut self, who: &Identity, tool: &str, arguments: &Value) -> Ruling {
        self.screened_ruling(who, tool, arguments, &[], &[])
    }

    fn screened_ruling(
        &mut self,
        who: &Identity,
        tool: &str,
        arguments: &Value,
        findings: &[Finding],
        edits: &[Edit],
    ) -> Ruling {
        let tool = self.tool(tool);
        let ask = Ask {
            resource: Resource::Tool(&tool),
            arguments: arguments.as_object().unwrap(),
            source: IpAddr::from([192, 0, 2, 1]),
        };
        let first = judge(who, findings, edits, &ask, &self.set, &mut self.cache);
        let again = judge(who, findings, edits, &ask, &self.set, &mut self.cache);
        assert_eq!((first.denial, &first.policies), (again.denial, &again.policies), "cached as decided");
        first
    }

    /// The decision, and whose it was.
    #[track_caller]
    fn check(&mut self, who: &Identity, tool: &str, arguments: Value, denial: Option<Reason>, policies: &[&str]) {
        let ruling = self.ruling(who, tool, &arguments);
        assert_eq!(ruling.denial, denial, "{tool} {arguments}");
        assert_eq!(ruling.policies.iter().map(|id| &**id).collect::<Vec<_>>(), policies);
    }

    fn visible(&mut self, who: &Identity, tool: &str) -> bool {
        let tool = self.tool(tool);
        visible(who, &tool, &self.set, &mut self.cache)
    }
}

const DENIED: Option<Reason> = Some(Reason::PolicyDenied);
const UNKNOWN: Option<Reason> = Some(Reason::UnknownTool);
const ERROR: Option<Reason> = Some(Reason::PolicyError);

#[test]
fn a_scope_permits_its_verb_and_nothing_else() {
    let mut world = World::new("");
    let reader = identity("alice", &["tool:crm:read"], &[], json!({}));
    world.check(&reader, "crm/contacts", json!({}), None, &["acp/scope"]);
    world.check(&reader, "crm/delete", json!({}), UNKNOWN, &[]);
    world.check(&identity("bob", &[], &[], json!({})), "crm/contacts", json!({}), UNKNOWN, &[]);
    world.check(&identity("eve", &["tool:crm:rea"], &[], json!({})), "crm/contacts", json!({}), UNKNOWN, &[]);
}

#[test]
fn without_the_scope_rule_and_policies_nothing_is_permitted() {
    let set = compile_for("", &["idp"], false).unwrap();
    assert_eq!(set.policies().count(), 0);
    let mut world = World { routes: routes(), set, cache: DecisionCache::new() };
    let admin = identity("root", &["tool:crm:read", "*"], &["admin"], json!({}));
    world.check(&admin, "crm/contacts", json!({}), UNKNOWN, &[]);
}

#[test]
fn a_forbid_overrides_and_is_named() {
    let mut world = World::new(
        r#"@id("no-exports-of-patients") forbid(principal, action == Action::"call", resource)
           when { resource.labels.contains("patient") && resource.verb == "export" };
           @id("analysts") permit(principal in Role::"analyst", action == Action::"call", resource in Route::"/tools/crm");"#,
    );
    let analyst = identity("ana", &["tool:crm:read"], &["analyst"], json!({}));
    world.check(&analyst, "crm/contacts", json!({}), None, &["acp/scope", "analysts"]);
    world.check(&analyst, "crm/delete", json!({}), None, &["analysts"]);
    world.check(&analyst, "crm/export", json!({}), UNKNOWN, &["no-exports-of-patients"]);
    world.check(&identity("bob", &[], &["Analyst"], json!({})), "crm/delete", json!({}), UNKNOWN, &[]);
}

#[test]
fn arguments_decide_and_are_part_of_the_cached_question() {
    let mut world = World::new(
        r#"@id("small") permit(principal, action == Action::"call", resource == Tool::"crm/export")
           when { context.arguments has limit && context.arguments.limit <= 100 };"#,
    );
    let who = identity("alice", &[], &[], json!({}));
    world.check(&who, "crm/export", json!({"limit": 100}), None, &["small"]);
    world.check(&who, "crm/export", json!({"limit": 101}), DENIED, &[]);
    world.check(&who, "crm/export", json!({"limit": 1e2}), None, &["small"]);
    world.check(&who, "crm/export", json!({}), DENIED, &[]);
    world.check(&who, "crm/export", json!({"limit": null}), DENIED, &[]);
    assert!(world.visible(&who, "crm/export"));
    assert!(!world.visible(&who, "crm/delete"));
}

#[test]
fn threat_a09_an_argument_of_another_type_or_an_inexact_number_denies() {
    let mut world = World::new(
        r#"permit(principal, action == Action::"call", resource == Tool::"crm/export");
           forbid(principal, action == Action::"call", resource == Tool::"crm/export")
           when { context.arguments has limit && context.arguments.limit > 100 };"#,
    );
    let who = identity("alice", &[], &[], json!({}));
    for limit in [json!("5"), json!(5.5), json!([5]), json!(1e30), json!({"a": 5})] {
        world.check(&who, "crm/export", json!({ "limit": limit }), ERROR, &[]);
    }
    let ruling = world.ruling(&who, "crm/export", &json!({"limit": 5.5}));
    assert_eq!(ruling.cause, Some(ReadError::Number));
    world.check(&who, "crm/export", json!({"limit": 5, "other": 1e300}), None, &["test.cedar#policy0"]);
}

#[test]
fn decimals_are_exact() {
    let mut world = World::new(
        r#"permit(principal, action == Action::"call", resource == Tool::"crm/export")
           when { context.arguments has price && context.arguments.price.lessThanOrEqual(decimal("0.3")) };"#,
    );
    let who = identity("alice", &[], &[], json!({}));
    world.check(&who, "crm/export", json!({"price": 0.3}), None, &["test.cedar#policy0"]);
    world.check(&who, "crm/export", json!({"price": 0.3001}), DENIED, &[]);
    world.check(&who, "crm/export", json!({"price": 0}), None, &["test.cedar#policy0"]);
    world.check(&who, "crm/export", json!({"price": 0.30001}), ERROR, &[]);
}

#[test]
fn an_error_denies_whoever_the_failing_policy_would_have_served() {
    // The overflow is in a permit that the call does not need.
    let mut world = World::new(
        r#"@id("fine") permit(principal, action == Action::"call", resource == Tool::"crm/export");
           @id("overflows") permit(principal, action == Action::"call", resource == Tool::"crm/export")
           when { context.arguments has n && context.arguments.n * 2 == 4 };"#,
    );
    let who = identity("alice", &[], &[], json!({}));
    world.check(&who, "crm/export", json!({"n": 2}), None, &["fine", "overflows"]);
    world.check(&who, "crm/export", json!({"n": i64::MAX}), ERROR, &["overflows"]);
    world.check(&who, "crm/contacts", json!({"n": i64::MAX}), UNKNOWN, &[]);
}

#[test]
fn claims_are_read_by_type_and_only_under_claims() {
    let mut world = World::new(
        r#"@id("grade") permit(principal, action == Action::"call", resource == Tool::"crm/export")
           when { principal.claims has grade && principal.claims.grade >= 7 };
           @id("own") permit(principal, action == Action::"call", resource == Tool::"crm/delete")
           when { principal.claims has region && context.arguments has region
                  && principal.claims.region == context.arguments.region };"#,
    );
    let who = |claims| identity("alice", &[], &[], claims);
    world.check(&who(json!({"grade": 7})), "crm/export", json!({}), None, &["grade"]);
    world.check(&who(json!({"grade": 6})), "crm/export", json!({}), UNKNOWN, &[]);
    world.check(&who(json!({"grade": "7"})), "crm/export", json!({}), UNKNOWN, &[]);
    assert_eq!(world.ruling(&who(json!({"grade": "7"})), "crm/export", &json!({})).cause, Some(ReadError::Claim));
    world.check(&who(json!({"region": "eu"})), "crm/delete", json!({"region": "eu"}), None, &["own"]);
    world.check(&who(json!({"region": "eu"})), "crm/delete", json!({"region": "us"}), DENIED, &[]);
    // A claim called like an attribute changes nothing.
    world.check(&who(json!({"scopes": ["tool:crm:read"]})), "crm/contacts", json!({}), UNKNOWN, &[]);
}

#[test]
fn findings_and_client_address_are_context() {
    let mut world = World::new(
        r#"@id("clean") forbid(principal, action == Action::"call", resource) when { context.findings.us_ssn > 0 };
           @id("inside") forbid(principal, action == Action::"call", resource)
           unless { context.source.address.isInRange(ip("192.0.2.0/24")) };"#,
    );
    let who = identity("alice", &["tool:crm:read"], &[], json!({}));
    world.check(&who, "crm/contacts", json!({}), None, &["acp/scope"]);
    let finding = Finding {
        detector: Detector::UsSsn,
        count: 1,
        confidence: 99,
        action: ContentAction::Flag,
        mode: Mode::Enforce,
    };
    let ruling = world.screened_ruling(&who, "crm/contacts", &json!({}), &[finding], &[]);
    assert_eq!((ruling.denial, &*ruling.policies[0]), (DENIED, "clean"));

    let tool = world.tool("crm/contacts");
    let ask = Ask { resource: Resource::Tool(&tool), arguments: &NoArguments, source: IpAddr::from([198, 51, 100, 1]) };
    let ruling = judge(&who, &[], &[], &ask, &world.set, &mut world.cache);
    assert_eq!((ruling.denial, &*ruling.policies[0]), (DENIED, "inside"));
}

#[test]
fn visible_is_what_some_call_could_be_permitted() {
    let mut world = World::new(
        r#"permit(principal, action == Action::"call", resource == Tool::"crm/export")
           when { context.arguments has limit && context.arguments.limit < 10 && principal.roles.contains("exporter") };
           permit(principal, action == Action::"call", resource == Tool::"crm/delete")
           when { (if context.findings.email > 0 then principal.tenant == "other" else false) };
           forbid(principal in Role::"intern", action == Action::"call", resource == Tool::"crm/contacts")
           when { principal.tenant == "org_acme" || context.findings.email > 0 };
           forbid(principal in Role::"trainee", action == Action::"call", resource == Tool::"crm/contacts")
           when { context.findings.email > 0 };"#,
    );
    let who = |roles: &[&str]| identity("alice", &["tool:crm:read"], roles, json!({}));
    assert!(world.visible(&who(&["exporter"]), "crm/export"));
    assert!(!world.visible(&who(&[]), "crm/export"), "the unknown call cannot make up for the missing role");
    assert!(!world.visible(&who(&[]), "crm/delete"));
    assert!(world.visible(&who(&[]), "crm/contacts"));
    assert!(!world.visible(&who(&["intern"]), "crm/contacts"), "forbidden outright");
    assert!(world.visible(&who(&["trainee"]), "crm/contacts"), "forbidden for some calls only");
}

#[test]
fn a_policy_that_fails_whatever_is_sent_hides_the_tool() {
    let mut world = World::new(
        r#"permit(principal, action == Action::"call", resource == Tool::"crm/export") when { context.findings.email == 0 };
           permit(principal, action == Action::"call", resource == Tool::"crm/export")
           when { principal.claims has n && principal.claims.n * 2 == 4 };"#,
    );
    let who = |n: i64| identity("alice", &[], &[], json!({ "n": n }));
    assert!(world.visible(&who(1), "crm/export"));
    assert!(!world.visible(&who(i64::MAX), "crm/export"));
    world.check(&who(i64::MAX), "crm/export", json!({}), UNKNOWN, &["test.cedar#policy1"]);
}

#[test]
fn forbidden_and_unknown_tools_answer_alike() {
    let mut world = World::new("");
    let who = identity("alice", &["tool:wiki:read"], &[], json!({}));
    world.check(&who, "crm/delete", json!({}), UNKNOWN, &[]);
    let elsewhere = http_tool(99, "toString", "read", "GET", "x");
    let ask = Ask { resource: Resource::Tool(&elsewhere), arguments: &NoArguments, source: IpAddr::from([0; 4]) };
    assert_eq!(judge(&who, &[], &[], &ask, &world.set, &mut world.cache).denial, UNKNOWN);
    // The index of one tool with the name of another is neither.
    let mixed = http_tool(0, "wiki/search", "read", "GET", "x");
    assert!(!visible(&who, &mixed, &world.set, &mut world.cache));
}

#[test]
fn a_route_scope_is_asked_for_before_any_policy_and_in_any_mode() {
    let mut world = World::new("");
    world.set = compile("").unwrap();
    let tool = world.tool("wiki/search");
    let who = identity("alice", &["tool:wiki:read", "wiki"], &[], json!({}));
    let ask = Ask { resource: Resource::Tool(&tool), arguments: &NoArguments, source: IpAddr::from([0; 4]) };
    let config = PolicyConfig { sources: vec![], scope_rule: true, mode: Mode::Observe };
    let observing = PolicySet::compile(&config, &[issuer("idp")], &world.routes).unwrap();
    for set in [&world.set, &observing] {
        let refused = decide(screened(&who, vec![], vec![]), &ask, set, &mut world.cache).unwrap_err();
        assert_eq!(refused.reason, Reason::InsufficientScope);
        assert_eq!(refused.missing_scopes, ["tools".into()]);
    }
    let both = identity("alice", &["tool:wiki:read", "wiki", "tools"], &[], json!({}));
    assert!(decide(screened(&both, vec![], vec![]), &ask, &world.set, &mut world.cache).is_ok());
}

#[test]
fn need_b01_observe_lets_pass_and_says_what_it_would_have_done() {
    let world = World::new("");
    let config = PolicyConfig { sources: vec![], scope_rule: true, mode: Mode::Observe };
    let set = PolicySet::compile(&config, &[issuer("idp")], &world.routes).unwrap();
    let mut cache = DecisionCache::new();
    let tool = world.tool("crm/delete");
    let ask = Ask { resource: Resource::Tool(&tool), arguments: &NoArguments, source: IpAddr::from([0; 4]) };
    let who = identity("alice", &[], &[], json!({}));
    let permitted = decide(screened(&who, vec![], vec![]), &ask, &set, &mut cache).unwrap();
    assert_eq!(permitted.would_deny_reason(), UNKNOWN);
    assert!(visible(&who, &tool, &set, &mut cache));
}

#[test]
fn an_edit_of_an_argument_that_the_permit_read_is_a_denial() {
    let mut world = World::new(
        r#"permit(principal, action == Action::"call", resource == Tool::"crm/export")
           when { context.arguments has to && context.arguments.to like "*@acme.com" };"#,
    );
    let who = identity("alice", &[], &[], json!({}));
    let edit = |pointer: &str| Edit { range: 0..1, bytes: vec![], pointer: Some(pointer.into()) };
    let arguments = json!({"to": "bob@acme.com", "note": "x"});
    let mut ruling = |edits: &[Edit]| world.screened_ruling(&who, "crm/export", &arguments, &[], edits).denial;
    assert_eq!(ruling(&[]), None);
    assert_eq!(ruling(&[edit("/note")]), None);
    assert_eq!(ruling(&[edit("/note"), edit("/to")]), Some(Reason::EditConflict));
}

#[test]
fn lists_have_an_action_of_their_own() {
    let mut world = World::new(r#"forbid(principal in Role::"guest", action == Action::"list", resource);"#);
    let crm = Arc::clone(&world.routes[0]);
    let ask = Ask { resource: Resource::Route(&crm), arguments: &NoArguments, source: IpAddr::from([0; 4]) };
    let guest = identity("g", &[], &["guest"], json!({}));
    let alice = identity("alice", &[], &[], json!({}));
    assert_eq!(judge(&guest, &[], &[], &ask, &world.set, &mut world.cache).denial, DENIED);
    assert_eq!(judge(&alice, &[], &[], &ask, &world.set, &mut world.cache).denial, None);
}

#[test]
fn equal_roles_of_two_issuers_are_two_roles() {
    let text = r#"permit(principal in Role::"okta#admin", action == Action::"call", resource);"#;
    let set = compile_for(text, &["okta", "partner"], false).unwrap();
    let mut world = World { routes: routes(), set, cache: DecisionCache::new() };
    let ours = identity_of("okta", "alice", &[], &["admin"], json!({}));
    let theirs = identity_of("partner", "alice", &[], &["admin"], json!({}));
    world.check(&ours, "crm/delete", json!({}), None, &["test.cedar#policy0"]);
    world.check(&theirs, "crm/delete", json!({}), UNKNOWN, &[]);

    let bare = r#"permit(principal in Role::"admin", action == Action::"call", resource);"#;
    assert!(compile_for(bare, &["okta", "partner"], false).unwrap_err().to_string().contains("issuer"));
    assert!(compile_for("", &["a#b", "c"], true).is_err());
}

#[test]
fn threat_a15_ids_with_quotes_and_newlines_stay_ids() {
    let mut world = World::new(r#"permit(principal in Role::"admin", action == Action::"call", resource);"#);
    let evil = identity("x\" || true || \"", &[], &["admin\"]) || principal in Role::\"admin", "a\nb"], json!({}));
    world.check(&evil, "crm/delete", json!({}), UNKNOWN, &[]);
}

#[test]
fn another_set_empties_the_cache() {
    let mut world = World::new(r#"permit(principal, action == Action::"call", resource);"#);
    let who = identity("alice", &[], &[], json!({}));
    world.check(&who, "crm/delete", json!({}), None, &["test.cedar#policy0"]);
    world.set = compile("").unwrap();
    world.check(&who, "crm/delete", json!({}), UNKNOWN, &[]);
}

/// Every message a configuration gives, in order.
#[track_caller]
fn mistakes(text: &str) -> Vec<String> {
    compile(text).unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn all_mistakes_are_reported_at_once_with_file_line_and_id() {
    let found = mistakes(
        "permit(principal, action == Action::\"call\", resource)\n  when { principal.age > 3 };\n\n\
         @id(\"two\") permit(principal, action == Action::\"call\", resource == Tool::\"crm/nope\");\n\
         @id(\"two\") permit(principal, action == Action::\"fly\", resource);\n\
         @id(\"acp/mine\") permit(principal == ?principal, action, resource);",
    );
    let all = found.join("\n");
    for expected in [
        "test.cedar:1: policy \"test.cedar#policy0\": ",
        "`age`",
        "test.cedar:4: policy \"two\": Tool::\"crm/nope\": there is no such tool",
        "test.cedar:5: policy \"two\": ",
        "Action::\"fly\"",
        "the id is taken by test.cedar:4",
        "templates are not supported",
    ] {
        assert!(all.contains(expected), "{expected} in\n{all}");
    }
}

#[test]
fn mistakes_of_grammar_have_their_line() {
    let found = mistakes("permit(principal, action, resource);\npermit(principal, action resource);");
    assert!(found[0].starts_with("test.cedar:2: "), "{found:?}");
}

#[test]
fn what_could_never_work_does_not_load() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = mistakes(text).join("\n");
        assert!(found.contains(expected), "{found}");
    }
    check(
        r#"permit(principal, action == Action::"call", resource) when { context.arguments.limit > 3 };"#,
        "unable to guarantee safety",
    );
    check(
        r#"permit(principal, action == Action::"call", resource) when { principal.tenant == "a" && false };"#,
        "impossible",
    );
    check(
        r#"permit(principal, action == Action::"call", resource)
           when { context.arguments has a && context.arguments.a > 3 };
           permit(principal, action == Action::"call", resource == Tool::"crm/export")
           when { context.arguments has a && context.arguments.a == "x" };"#,
        "is taken for Long and for String by policies of the tool crm/export",
    );
    check(
        r#"permit(principal, action == Action::"call", resource == Tool::"crm/export")
           when { principal.claims has a && principal.claims.a > 3 };
           permit(principal, action == Action::"call", resource == Tool::"crm/delete")
           when { principal.claims has a && principal.claims.a == "x" };"#,
        "`principal.claims.a` is Long in another policy, String here",
    );
    check(r#"@id("acp/scope") permit(principal, action, resource);"#, "built-in");
    check(
        r#"permit(principal, action == Action::"call", resource) when { context.arguments == {a: 1} };"#,
        "attribute by attribute",
    );
    check(r#"forbid(principal, action == Action::"call", resource) when { unknown("x") };"#, "");
}

#[test]
fn the_built_in_rules_are_cedar_that_can_be_printed() {
    let set = compile("").unwrap();
    let entries: Vec<_> = set.policies().map(|entry| (entry.id, entry.file, entry.line)).collect();
    assert_eq!(entries, [("acp/scope", BUILT_IN_NAME, 2), ("acp/list", BUILT_IN_NAME, 7)]);
    assert!(set.policies().next().unwrap().text().contains("principal.scopes.contains(resource.scope)"));
}

#[test]
fn slices_answer_as_the_whole_set_would() {
    // One policy per role and tool; a caller with two roles gets the union, whatever else is in the set.
    use std::fmt::Write;
    let mut text = String::new();
    for role in 0..50 {
        let tool = ["crm/contacts", "crm/delete", "crm/export"][role % 3];
        write!(
            text,
            "@id(\"p{role}\") permit(principal in Role::\"r{role}\", action == Action::\"call\", resource == Tool::\"{tool}\");"
        )
        .unwrap();
    }
    let mut world = World::new(&text);
    let who = identity("alice", &[], &["r3", "r6", "r7"], json!({}));
    world.check(&who, "crm/contacts", json!({}), None, &["p3", "p6"]);
    world.check(&who, "crm/delete", json!({}), None, &["p7"]);
    world.check(&who, "crm/export", json!({}), UNKNOWN, &[]);
    let one = identity("bob", &[], &["r3"], json!({}));
    let tool = world.tool("crm/contacts");
    let target = world.set.target(Resource::Tool(&tool)).unwrap();
    assert_eq!(target.slice(&[]).count(), 1, "the scope rule alone, of 52 policies");
    world.check(&one, "crm/contacts", json!({}), None, &["p3"]);
}

/// The Cedar blocks of docs/policy.md.
fn documented() -> Vec<&'static str> {
    let text = include_str!("../../../docs/policy.md");
    text.split("```cedar\n").skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn the_documentation_shows_the_built_in_rules_and_examples_that_load() {
    let blocks = documented();
    assert_eq!(blocks[0], BUILT_IN);
    let mut routes = routes();
    for (route, name) in routes.iter_mut().zip(["crm", "wiki"]) {
        Arc::get_mut(route).unwrap().name = name.into();
    }
    let sources = vec![("examples.cedar".to_owned(), blocks[1].to_owned())];
    let config = PolicyConfig { sources, scope_rule: true, mode: Mode::Enforce };
    let set = PolicySet::compile(&config, &[issuer("idp")], &routes).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut world = World { routes, set, cache: DecisionCache::new() };
    let doctor = identity("d", &[], &["doctor"], json!({"region": "eu"}));
    world.check(&doctor, "crm/contacts", json!({}), None, &["doctors-read-patients"]);
    world.check(&doctor, "crm/export", json!({"region": "eu", "limit": 1000}), None, &["own-region"]);
    world.check(&doctor, "crm/export", json!({"region": "eu"}), DENIED, &["no-bulk-export"]);
}
