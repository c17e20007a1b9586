//! Clients that leave in the middle of what they send.

use std::time::{Duration, Instant};

use framex_test_support::{Server, until};

use crate::depot::{Depot, seen};
use crate::sender::{Framing, Part, Sender, file_head, text};

#[tokio::test]
async fn the_handler_sees_that_it_broke_off() {
    let server = Server::of::<Depot>().await;
    for (framing, key) in [
        (Framing::Length, "gone"),
        (Framing::Chunked, "gone-chunked"),
    ] {
        let target = format!("/api/v1/watched?key={key}");
        let mut sender = Sender::start(&server, "PUT", &target, "", framing, 10_000_000).await;
        sender.part(&Part::Pattern(300_000)).await;
        until("it is there", || seen(key).bytes == 300_000).await;
        drop(sender);
        // It finishes on its own, after it has cleaned up.
        until("it ends", || seen(key).end.is_some()).await;
        until("it is gone", || seen(key).gone).await;
        assert_eq!(seen(key).end.as_deref(), Some("upload_interrupted"));
        assert_eq!(seen(key).bytes, 300_000);
    }
}

#[tokio::test]
async fn so_does_one_that_reads_a_form() {
    let server = Server::of::<Depot>().await;
    let kind = "Content-Type: multipart/form-data; boundary=XX\r\n";
    let target = "/api/v1/watched_form";
    let mut sender =
        Sender::start(&server, "POST", target, kind, Framing::Length, 10_000_000).await;
    let before = text("key", "gone-form") + &file_head("file", "f");
    sender.send(before.as_bytes()).await;
    sender.part(&Part::Pattern(300_000)).await;
    until("it is there", || seen("gone-form").bytes > 299_000).await;
    drop(sender);
    until("it is gone", || seen("gone-form").gone).await;
    assert_eq!(seen("gone-form").end.as_deref(), Some("upload_interrupted"));
}

#[tokio::test]
async fn a_handler_that_does_not_finish_is_stopped() {
    let server = Server::of::<Depot>().await;
    let target = "/api/v1/stubborn?key=stubborn";
    let mut sender = Sender::start(&server, "PUT", target, "", Framing::Length, 10_000_000).await;
    sender.part(&Part::Pattern(300_000)).await;
    until("it runs", || seen("stubborn").begun).await;
    drop(sender);
    until("it knows", || seen("stubborn").end.is_some()).await;
    let begun = Instant::now();
    until("it is gone", || seen("stubborn").gone).await;
    let took = begun.elapsed();
    let about_two = Duration::from_millis(1500)..Duration::from_millis(3500);
    assert!(about_two.contains(&took), "{took:?}");
}

#[tokio::test]
async fn whoever_has_sent_all_takes_the_handler_along() {
    let server = Server::of::<Depot>().await;
    let target = "/api/v1/stubborn?key=all-sent";
    let mut sender = Sender::start(&server, "PUT", target, "", Framing::Length, 300_000).await;
    sender.part(&Part::Pattern(300_000)).await;
    until("all is read", || seen("all-sent").end.is_some()).await;
    let begun = Instant::now();
    drop(sender);
    until("it is gone", || seen("all-sent").gone).await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_stop_waits_for_handlers_that_clean_up() {
    let server = Server::of::<Depot>().await;
    let target = "/api/v1/watched?key=stopped";
    let mut sender = Sender::start(&server, "PUT", target, "", Framing::Length, 10_000_000).await;
    sender.part(&Part::Pattern(300_000)).await;
    until("it is there", || seen("stopped").bytes == 300_000).await;
    let stopping = tokio::spawn(server.stop());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!seen("stopped").gone, "what runs is finished");
    drop(sender);
    stopping.await.unwrap();
    assert_eq!(seen("stopped").end.as_deref(), Some("upload_interrupted"));
}
