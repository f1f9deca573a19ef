//! The service against a real server on loopback. Time is real and short; every wait is for an event.

use std::net::SocketAddr;
use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::*;
use crate::config::resolved::{ClaimNames, Tenants};
use crate::identity::dev::DevIssuer;

type Answer = Box<dyn Fn(&str) -> Response + Send + Sync>;

/// An issuer's web server whose answers a test changes as it goes.
struct Idp {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<Answer>,
    asked: Mutex<Vec<String>>,
    /// One permit lets one request be answered.
    gate: Semaphore,
}

impl Idp {
    async fn start(answer: impl Fn(&str) -> Response + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared { answer: Mutex::new(Box::new(answer)), asked: Mutex::default(), gate });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    /// One that serves this key set everywhere but at the discovery path.
    async fn with_keys(jwks: String) -> Self {
        Self::start(move |_| jwks.clone().into_response()).await
    }

    fn answer(&self, answer: impl Fn(&str) -> Response + Send + Sync + 'static) {
        *self.shared.answer.lock().unwrap() = Box::new(answer);
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn serve(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    shared.asked.lock().unwrap().push(uri.path().to_owned());
    shared.gate.acquire().await.unwrap().forget();
    let answer = shared.answer.lock().unwrap();
    answer(uri.path())
}

fn issuer(url: &str, jwks: JwksSource) -> Arc<Issuer> {
    let names = |name: &str| name.to_owned();
    Arc::new(Issuer {
        name: "idp".into(),
        issuer: url.into(),
        audience: vec!["a".into()],
        jwks,
        claims: ClaimNames { tenant: names("t"), scopes: names("s"), roles: names("r"), custom: Vec::new() },
        tenants: Tenants::Any,
        allow_private: Vec::new(),
    })
}

fn config(jwks: JwksSource) -> IdentityConfig {
    IdentityConfig {
        issuers: vec![issuer("https://idp.test/", jwks)],
        token_lifetime_max: Duration::from_secs(86_400),
        leeway: Duration::from_secs(30),
        require_sync: false,
        cache_entries: 8,
        resource_metadata: None,
        dev_issuer: true,
    }
}

/// Timings under which nothing but what a test starts happens.
fn still() -> KeyTimings {
    let hour = Duration::from_secs(3600);
    KeyTimings { refresh: hour, refresh_file: hour, retry: hour, ..KeyTimings::default() }
}

fn anywhere() -> AddressGuard {
    Arc::new(|_, _, _| Ok(()))
}

type Published = mpsc::UnboundedReceiver<Arc<Keys>>;

fn service(
    config: &IdentityConfig,
    timings: KeyTimings,
) -> (KeyService<impl FnMut(Arc<Keys>) + Send + use<>>, Published) {
    let (sender, published) = mpsc::unbounded_channel();
    let publish = move |keys| drop(sender.send(keys));
    (KeyService::with_timings(config, None, anywhere(), publish, timings), published)
}

fn key_ids(keys: &Keys) -> Vec<String> {
    keys.issuers()[0].set().map(|set| set.key_ids().map(str::to_owned).collect()).unwrap_or_default()
}

fn state(keys: &Keys) -> KeyState {
    keys.issuers()[0].state()
}

fn jwks(kid: &str) -> String {
    DevIssuer::generate(kid).unwrap().jwks()
}

async fn fetch_once(jwks: JwksSource, guard: AddressGuard) -> Result<KeySet, FetchError> {
    fetch::keys(&config(jwks).issuers[0], &guard, Duration::from_secs(5)).await
}

fn ask(kid: &str, issuer: &Arc<Issuer>) -> (Refetch, oneshot::Receiver<bool>) {
    let (done, answered) = oneshot::channel();
    (Refetch { issuer: Arc::clone(issuer), kid: kid.into(), done }, answered)
}

#[tokio::test]
async fn loads_keys_from_a_url_a_file_or_discovery() {
    let document = jwks("k1");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &document).unwrap();
    let idp = Idp::with_keys(document).await;
    for source in [JwksSource::Url(idp.url("/keys")), JwksSource::File(file.path().to_owned())] {
        let config = config(source);
        let (mut service, _published) = service(&config, still());
        assert!(service.keys().degraded());
        service.load_initial().await;
        assert_eq!(key_ids(&service.keys()), ["k1"]);
        assert!(!service.keys().degraded());
    }
    let (issuer_url, keys_url) = (idp.url("/realm/"), idp.url("/keys"));
    let (document, discovery) = (jwks("k2"), DevIssuer::discovery(&issuer_url, &keys_url));
    idp.answer(move |path| if path == "/keys" { document.clone() } else { discovery.clone() }.into_response());
    let set = fetch::keys(&issuer(&issuer_url, JwksSource::Discovery), &anywhere(), Duration::from_secs(5)).await;
    assert!(set.unwrap().find("k2").is_some());
    assert_eq!(idp.asked(), ["/keys", "/realm/.well-known/openid-configuration", "/keys"]);
}

#[tokio::test]
async fn discovery_for_another_issuer_is_refused() {
    let idp = Idp::start(|_| DevIssuer::discovery("https://idp.test", "https://idp.test/keys").into_response()).await;
    let issuer = issuer(&idp.url(""), JwksSource::Discovery);
    let refused = fetch::keys(&issuer, &anywhere(), Duration::from_secs(5)).await;
    assert!(matches!(refused, Err(FetchError::IssuerMismatch)), "{refused:?}");
    for document in ["", "[]", "{\"issuer\":1}", "{\"issuer\":\"a\",\"issuer\":\"b\",\"jwks_uri\":\"c\"}"] {
        idp.answer(move |_| document.into_response());
        let refused = fetch::keys(&issuer, &anywhere(), Duration::from_secs(5)).await;
        assert!(matches!(refused, Err(FetchError::Discovery(_))), "{document}: {refused:?}");
    }
}

#[tokio::test]
async fn refreshes_on_schedule_whatever_cache_control_says() {
    let first = jwks("k1");
    let idp = Idp::start(move |_| ([(header::CACHE_CONTROL, "max-age=86400")], first.clone()).into_response()).await;
    let config = config(JwksSource::Url(idp.url("/")));
    let (service, mut published) = service(&config, KeyTimings { refresh: Duration::from_millis(5), ..still() });
    let (_requests, receiver) = mpsc::channel(1);
    tokio::spawn(service.run(receiver));
    assert_eq!(key_ids(&published.recv().await.unwrap()), ["k1"]);
    let second = jwks("k2");
    idp.answer(move |_| second.clone().into_response());
    assert_eq!(key_ids(&published.recv().await.unwrap()), ["k2"]);
}

#[tokio::test]
async fn unknown_ids_share_one_fetch_and_the_next_waits_its_turn() {
    let idp = Idp::with_keys(jwks("k1")).await;
    let config = config(JwksSource::Url(idp.url("/")));
    let (mut service, mut published) = service(&config, KeyTimings { refetch_interval: Duration::ZERO, ..still() });
    service.load_initial().await;
    published.recv().await.unwrap();
    let successor = jwks("k2");
    idp.answer(move |_| successor.clone().into_response());
    idp.shared.gate.forget_permits(Semaphore::MAX_PERMITS);

    let counters = service.counters();
    let (requests, receiver) = mpsc::channel(64);
    let served = tokio::spawn(service.run(receiver));
    let (asked, answers): (Vec<_>, Vec<_>) =
        ["k2", "k2", "k3", "k2"].map(|kid| ask(kid, &config.issuers[0])).into_iter().unzip();
    for request in asked {
        requests.send(request).await.unwrap();
    }
    while requests.capacity() < 64 || idp.asked().len() < 2 {
        tokio::task::yield_now().await;
    }
    idp.shared.gate.add_permits(100);
    let mut found = Vec::new();
    for answer in answers {
        found.push(answer.await.unwrap());
    }
    assert_eq!(found, [true, true, false, true]);
    assert_eq!(key_ids(&published.recv().await.unwrap()), ["k2"]);
    assert_eq!(idp.asked().len(), 2, "one initial fetch, one for all who asked");

    // The fresh document lacked k3, has k2, and the other issuer is not configured: none of these costs a fetch.
    let (ours, other) = (&config.issuers[0], issuer("https://other.test/", config.issuers[0].jwks.clone()));
    for (kid, issuer, expected) in [("k3", ours, false), ("k2", ours, true), ("k2", &other, false)] {
        let (request, answer) = ask(kid, issuer);
        requests.send(request).await.unwrap();
        assert_eq!(answer.await.unwrap(), expected);
    }
    assert_eq!((idp.asked().len(), counters.fetches.load(Ordering::Relaxed)), (2, 2));
    drop(requests);
    served.await.unwrap();
}

#[tokio::test]
async fn an_unknown_id_soon_after_a_fetch_is_refused_without_one() {
    let idp = Idp::with_keys(jwks("k1")).await;
    let config = config(JwksSource::Url(idp.url("/")));
    let (mut service, _published) = service(&config, still());
    service.load_initial().await;
    let counters = service.counters();
    let (requests, receiver) = mpsc::channel(1);
    tokio::spawn(service.run(receiver));
    for i in 0..20 {
        let (request, answer) = ask(&format!("k{}", i + 2), &config.issuers[0]);
        requests.send(request).await.unwrap();
        assert!(!answer.await.unwrap());
    }
    assert_eq!(idp.asked().len(), 1);
    assert_eq!(counters.refetches_refused.load(Ordering::Relaxed), 20);
}

#[tokio::test]
async fn a_request_from_before_a_reload_asks_its_own_issuer() {
    let (idp, newcomer) = (Idp::with_keys(jwks("k1")).await, Idp::with_keys(jwks("n1")).await);
    let before = config(JwksSource::Url(idp.url("/")));
    // The entry that was the first is the second now.
    let mut after = config(JwksSource::Url(idp.url("/")));
    after.issuers.insert(0, issuer("https://newcomer.test/", JwksSource::Url(newcomer.url("/"))));
    let (mut service, _published) = service(&after, KeyTimings { refetch_interval: Duration::ZERO, ..still() });
    service.load_initial().await;
    let successor = jwks("k2");
    idp.answer(move |_| successor.clone().into_response());
    let (requests, receiver) = mpsc::channel(1);
    tokio::spawn(service.run(receiver));
    let (request, answer) = ask("k2", &before.issuers[0]);
    requests.send(request).await.unwrap();
    assert!(answer.await.unwrap());
    assert_eq!((idp.asked().len(), newcomer.asked().len()), (2, 1));
}

/// The states and key ids that a service publishes over a fetch that succeeds, failures, and a new start.
async fn through_an_outage(stale_max: Duration) -> [(KeyState, Vec<String>); 3] {
    let idp = Idp::with_keys(jwks("k1")).await;
    let config = config(JwksSource::Url(idp.url("/")));
    let soon = Duration::from_millis(5);
    let (mut service, mut published) =
        service(&config, KeyTimings { refresh: soon, retry: soon, stale_max, ..still() });
    let mut next = async || {
        let keys = published.recv().await.unwrap();
        (state(&keys), key_ids(&keys))
    };
    service.load_initial().await;
    let before = next().await;
    idp.answer(|_| StatusCode::SERVICE_UNAVAILABLE.into_response());
    let (_requests, receiver) = mpsc::channel(1);
    tokio::spawn(service.run(receiver));
    let during = next().await;
    let recovered = jwks("k2");
    idp.answer(move |_| recovered.clone().into_response());
    [before, during, next().await]
}

#[tokio::test]
async fn a_dead_issuers_keys_serve_until_the_bound() {
    let [k1, k2] = ["k1", "k2"].map(|kid| vec![kid.to_owned()]);
    let [before, during, after] = through_an_outage(Duration::from_secs(3600)).await;
    assert_eq!((before, after), ((KeyState::Good, k1.clone()), (KeyState::Good, k2.clone())));
    assert!(matches!(during.0, KeyState::Stale { .. }));
    assert_eq!(during.1, k1);
    let beyond = through_an_outage(Duration::ZERO).await;
    assert_eq!(beyond, [(KeyState::Good, k1), (KeyState::Expired, vec![]), (KeyState::Good, k2)]);
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_is_degraded_and_retried() {
    let idp = Idp::start(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    let config = config(JwksSource::Url(idp.url("/")));
    let (mut service, mut published) = service(&config, KeyTimings { retry: Duration::from_millis(5), ..still() });
    service.load_initial().await;
    assert_eq!((state(&service.keys()), service.keys().degraded()), (KeyState::NeverFetched, true));
    let late = jwks("k1");
    idp.answer(move |_| late.clone().into_response());
    let (_requests, receiver) = mpsc::channel(1);
    tokio::spawn(service.run(receiver));
    assert_eq!(key_ids(&published.recv().await.unwrap()), ["k1"]);
}

#[tokio::test]
async fn hostile_documents_leave_the_last_good_keys_in_force() {
    let idp = Idp::with_keys(jwks("k1")).await;
    let config = config(JwksSource::Url(idp.url("/")));
    let (mut service, mut published) = service(&config, still());
    service.load_initial().await;
    published.recv().await.unwrap();
    let mut leaked: serde_json::Value = serde_json::from_str(&jwks("k2")).unwrap();
    leaked["keys"][0]["d"] = json!("AA");
    let documents = [
        String::new(),
        "{\"keys\":[]}".into(),
        "<html>".into(),
        leaked.to_string(),
        json!({"keys": [{"kty": "oct", "kid": "k1", "k": "AA"}]}).to_string(),
        "[".repeat(100_000),
        " ".repeat(crate::identity::jwks::JWKS_BYTES_MAX + 1),
    ];
    for document in documents {
        let hint = document.chars().take(40).collect::<String>();
        idp.answer(move |_| document.clone().into_response());
        service.start(0, Instant::now());
        assert!(service.finish_one().await);
        assert_eq!(key_ids(&service.keys()), ["k1"], "{hint}");
        assert!(matches!(state(&service.keys()), KeyState::Stale { .. }), "{hint}");
    }
}

#[tokio::test]
async fn an_endless_or_silent_answer_ends_by_the_bounds() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        client.read_u8().await.unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while client.write_all(&[b' '; 65_536]).await.is_ok() {}
    });
    let endless = fetch_once(JwksSource::Url(url), anywhere()).await;
    assert!(matches!(endless, Err(FetchError::TooLong)), "{endless:?}");
    let idp = Idp::with_keys(jwks("k1")).await;
    idp.shared.gate.forget_permits(Semaphore::MAX_PERMITS);
    let entry = issuer("x", JwksSource::Url(idp.url("/")));
    let silent = fetch::keys(&entry, &anywhere(), Duration::from_millis(20)).await;
    assert!(matches!(silent, Err(FetchError::TimedOut | FetchError::Http(_))), "{silent:?}");
}

#[tokio::test]
async fn a_refused_address_is_never_connected_to() {
    let idp = Idp::with_keys(jwks("k1")).await;
    let nowhere: AddressGuard = Arc::new(|_, ip, port| Err(format!("{ip}:{port} is private")));
    for url in [idp.url("/"), idp.url("/").replace("127.0.0.1", "localhost")] {
        let refused = fetch_once(JwksSource::Url(url), Arc::clone(&nowhere)).await;
        assert!(matches!(refused, Err(FetchError::Address { .. })), "{refused:?}");
    }
    assert_eq!(idp.asked().len(), 0);
    // Discovery itself is allowed, the keys it points to are not.
    let metadata = "http://127.9.9.9:1/latest/meta-data";
    let url = idp.url("");
    let document = DevIssuer::discovery(&url, metadata);
    idp.answer(move |_| document.clone().into_response());
    let port = idp.address.port();
    let own_port: AddressGuard = Arc::new(move |_, _, p| if p == port { Ok(()) } else { Err("other port".into()) });
    let refused = fetch::keys(&issuer(&url, JwksSource::Discovery), &own_port, Duration::from_secs(5)).await;
    assert!(matches!(refused, Err(FetchError::Address { .. })), "{refused:?}");
}

#[tokio::test]
async fn plain_http_reaches_loopback_only() {
    for url in ["http://192.0.2.1/keys", "http://[2001:db8::1]/keys", "ftp://127.0.0.1/", "http://a@127.0.0.1/"] {
        let refused = fetch_once(JwksSource::Url(url.into()), anywhere()).await;
        assert!(matches!(refused, Err(FetchError::Url(_))), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn redirects_stay_within_the_origin() {
    let keys = jwks("k1");
    let other = Idp::with_keys(keys.clone()).await;
    let elsewhere = other.url("/keys");
    let idp = Idp::start(move |path| match path {
        "/moved" => (StatusCode::FOUND, [(header::LOCATION, "/keys")]).into_response(),
        "/away" => (StatusCode::FOUND, [(header::LOCATION, elsewhere.clone())]).into_response(),
        "/loop" => (StatusCode::FOUND, [(header::LOCATION, "/loop")]).into_response(),
        _ => keys.clone().into_response(),
    })
    .await;
    assert!(fetch_once(JwksSource::Url(idp.url("/moved")), anywhere()).await.is_ok());
    for path in ["/away", "/loop"] {
        let refused = fetch_once(JwksSource::Url(idp.url(path)), anywhere()).await;
        assert!(matches!(refused, Err(FetchError::Http(_))), "{path}: {refused:?}");
    }
    assert_eq!(other.asked().len(), 0);
}

#[tokio::test]
async fn https_to_a_server_that_speaks_none_is_an_error() {
    let idp = Idp::with_keys(jwks("k1")).await;
    let url = idp.url("/").replace("http:", "https:");
    let refused = fetch_once(JwksSource::Url(url), anywhere()).await;
    assert!(matches!(refused, Err(FetchError::Http(_))), "{refused:?}");
}

#[tokio::test]
async fn a_key_file_is_read_again_and_must_not_be_writable_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), jwks("k1")).unwrap();
    let config = config(JwksSource::File(file.path().to_owned()));
    let soon = Duration::from_millis(5);
    let (service, mut published) = service(&config, KeyTimings { refresh_file: soon, retry: soon, ..still() });
    let (_requests, receiver) = mpsc::channel(1);
    tokio::spawn(service.run(receiver));
    assert_eq!(key_ids(&published.recv().await.unwrap()), ["k1"]);
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o602)).unwrap();
    assert!(matches!(state(&published.recv().await.unwrap()), KeyState::Stale { .. }));
    let next = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(next.path(), jwks("k2")).unwrap();
    std::fs::rename(next.path(), file.path()).unwrap();
    assert_eq!(key_ids(&published.recv().await.unwrap()), ["k2"]);
    let missing = fetch_once(JwksSource::File("/nonexistent".into()), anywhere()).await;
    assert!(matches!(missing, Err(FetchError::File(_))), "{missing:?}");
}

#[tokio::test]
async fn a_reload_takes_over_the_keys_of_unchanged_sources() {
    let idp = Idp::with_keys(jwks("k1")).await;
    let source = JwksSource::Url(idp.url("/"));
    let first = config(source.clone());
    let (mut service, _published) = service(&first, still());
    service.load_initial().await;
    let reload = |source| {
        let config = config(source);
        KeyService::with_timings(&config, Some(&service.keys()), anywhere(), drop, still()).keys()
    };
    assert_eq!(key_ids(&reload(source)), ["k1"]);
    assert_eq!(state(&reload(JwksSource::Url("https://other.test/".into()))), KeyState::NeverFetched);
}
