//! When documents are read again.

use super::*;
use crate::proxy::forward::Circuit;
use crate::proxy::surface::Surface;
use crate::proxy::watch::Watched;

const DOCUMENT: &str = r#"{"openapi": "3.1.0", "info": {"title": "t", "version": "1"},
    "paths": {"/x": {"get": {"responses": {}}}}}"#;

fn watched(url: &str) -> Arc<Watched> {
    let upstream = upstream(url, json!({}));
    Watched::new(
        upstream,
        &Arc::default(),
        &"bridge-1".into(),
        Duration::from_secs(60),
    )
    .unwrap()
}

/// Watches for ever. The bus is to be kept.
fn watch(watched: &Arc<Watched>) -> (impl Future<Output = ()> + use<>, Arc<NoBus>) {
    let bus = Arc::new(NoBus(Arc::default()));
    let plugin = Box::leak(Box::new(PluginMetadata::default()));
    let held: Weak<NoBus> = Arc::downgrade(&bus);
    let ctx = Context::new(Arc::new(Scope::new(plugin, held)), CallMeta::default());
    let surface = Surface::new(vec![Arc::clone(watched)]);
    (Arc::clone(watched).watch(surface, ctx), bus)
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_for_long_is_not_given_up() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let watched = watched(&url);
    let (watch, bus) = watch(&watched);
    // More than a hundred looks.
    let ended = tokio::time::timeout(Duration::from_secs(7200), watch).await;
    assert!(ended.is_err(), "{:?}", bus.0.degradations());
    assert!(watched.troubles().1.unwrap().contains("cannot be reached"));
}

#[tokio::test]
async fn a_path_that_is_none_is_passed_over_whatever_is_answered() {
    for status in ["401 Key", "403 No", "404 None", "405 Not", "500 Oops"] {
        let upstream = Scripted::start(move |mut peer, _| async move {
            while let Some(head) = peer.head().await {
                match head.starts_with("GET /openapi.json ") {
                    true => peer.send(json_answer("200 OK", DOCUMENT)).await,
                    false => peer.send(answer(status, "", "")).await,
                }
            }
        })
        .await;
        let watched = watched(&format!("http://{}", upstream.address));
        let (watch, _bus) = watch(&watched);
        tokio::select! {
            () = in_time(watch) => panic!(),
            () = in_time(watched.looked()) => {}
        }
        assert_eq!((watched.served().len(), watched.troubles().1), (1, None));
    }
    let upstream = Scripted::answering(answer("403 No", "", "")).await;
    let watched = watched(&format!("http://{}", upstream.address));
    let (watch, _bus) = watch(&watched);
    tokio::select! {
        () = in_time(watch) => panic!(),
        () = in_time(watched.looked()) => {}
    }
    let trouble = watched.troubles().1.unwrap();
    assert!(trouble.contains("/api/v1/openapi.json"), "{trouble}");
}

#[tokio::test]
async fn who_is_given_a_rest_is_looked_at_soon() {
    let looks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looks);
    let upstream = Scripted::start(move |mut peer, _| {
        let count = Arc::clone(&count);
        async move {
            while let Some(head) = peer.head().await {
                if !head.contains("openapi.json") {
                    return;
                }
                count.fetch_add(1, Ordering::Relaxed);
                peer.send(json_answer("200 OK", DOCUMENT)).await;
            }
        }
    })
    .await;
    let watched = watched(&format!("http://{}", upstream.address));
    let (watch, bus) = watch(&watched);
    let calls = async {
        in_time(watched.looked()).await;
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        for _ in 0..5 {
            pass(&watched.forwarder, "GET /x").await.unwrap_err();
        }
        assert_eq!(watched.forwarder.state().circuit, Circuit::Open);
        // Nobody calls it any more.
        until(|| watched.forwarder.state().circuit == Circuit::Closed).await;
        until(|| bus.0.degradations().is_empty()).await;
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    };
    tokio::select! {
        () = watch => panic!(),
        () = calls => {}
    }
}
