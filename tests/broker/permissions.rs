//! Who may say and hear what.

use framex_test_support::nats::Wire;

use crate::{configured, login};

/// The users that run a plugin: user, plugin, an API it calls.
const WORKERS: [(&str, &str, Option<&str>); 12] = [
    ("bridge", "proxy", None),
    ("echo", "echo", Some("hello.Hello.hello")),
    ("hello", "hello", None),
    ("files", "files", None),
    ("journal", "journal", None),
    ("maths", "maths", None),
    ("speaker", "speaker", None),
    ("storyteller", "storyteller", None),
    ("megaphone", "megaphone", Some("speaker.Speaker.words")),
    ("stock", "stock", Some("orders.Orders.sold")),
    ("orders", "orders", Some("stock.Stock.take")),
    ("weather", "weather", Some("echo.EchoPlugin.confess")),
];
/// An API and a plugin that none of them calls.
const STRANGER: &str = "vault.Vault.open";

/// Tries all, then asks which were refused: subject (and group) as the server names them.
async fn refused(
    wire: &mut Wire,
    listen: &[(&str, Option<&str>)],
    publish: &[&str],
) -> Vec<String> {
    for (subject, group) in listen {
        wire.subscribe(subject, *group).await;
    }
    for subject in publish {
        wire.publish(subject, None, &[], b"{}").await;
    }
    let errors = wire.fence().await;
    let violation = |error: String| {
        let rest = error.strip_prefix("Permissions Violation for ");
        let rest = rest.unwrap_or_else(|| panic!("another error: {error}"));
        rest.replace(['"', '\\'], "")
    };
    errors.into_iter().map(violation).collect()
}

#[tokio::test]
async fn a_worker_may_do_what_its_plugin_needs() {
    let server = configured().await;
    for (user, plugin, calls) in WORKERS {
        let mut wire = login(&server, user).await;
        let id = "0123456789abcdef";
        let mut listen: Vec<(String, Option<&str>)> = vec![
            (format!("_INBOX.{user}.Yk3r1Zb0f7Qw9Lp2Xc4Vn6.*"), None),
            ("_framex.announce.>".into(), None),
            (format!("{plugin}.Some.api"), Some(plugin)),
            (format!("{plugin}.Some.api.{id}"), None),
            (format!("{plugin}._control"), None),
            (format!("{plugin}._control.{id}"), None),
            (format!("{plugin}._describe.{id}"), None),
            (format!("{plugin}._body.{id}.*"), None),
        ];
        let mut publish = vec![
            format!("_framex.announce.{plugin}.{id}"),
            "_framex.fence".to_owned(),
            "_framex.stream.abc.def.1".to_owned(),
            "_INBOX.edge.Yk3r1Zb0f7Qw9Lp2Xc4Vn6.1".to_owned(),
            format!("vault._describe.{id}"),
        ];
        for verb in ["PING", "INFO", "STATS"] {
            for of in [
                "".to_owned(),
                format!(".{plugin}"),
                format!(".{plugin}.{id}"),
            ] {
                listen.push((format!("$SRV.{verb}{of}"), None));
            }
            publish.push(format!("$SRV.{verb}"));
            publish.push(format!("$SRV.{verb}.vault.{id}"));
        }
        if let Some(api) = calls {
            let other = api.split('.').next().unwrap();
            publish.push(api.to_owned());
            publish.push(format!("{api}.{id}"));
            publish.push(format!("{other}._control"));
            publish.push(format!("{other}._control.{id}"));
            publish.push(format!("{other}._body.{id}.0000000100000000"));
        }
        let listen: Vec<_> = listen.iter().map(|(s, g)| (s.as_str(), *g)).collect();
        let publish: Vec<_> = publish.iter().map(String::as_str).collect();
        assert_eq!(
            refused(&mut wire, &listen, &publish).await,
            [""; 0],
            "{user}"
        );
    }
}

#[tokio::test]
async fn a_worker_may_do_nothing_else() {
    let server = configured().await;
    for (user, plugin, calls) in WORKERS {
        let mut wire = login(&server, user).await;
        let own = format!("{plugin}.Some.api");
        let beside = format!("{plugin}.>");
        let announce = format!("_framex.announce.vault.{plugin}");
        let listen = [
            // Beside the queue group it would see every call.
            (own.as_str(), None),
            (own.as_str(), Some("others")),
            (beside.as_str(), None),
            (beside.as_str(), Some(plugin)),
            (STRANGER, Some("vault")),
            (STRANGER, Some(plugin)),
            ("vault._control.*", None),
            ("vault._body.*.*", None),
            ("vault._describe.*", None),
            ("$SRV.>", None),
            ("$SRV.INFO.vault", None),
            ("_framex.>", None),
            ("_framex.stream.>", None),
            ("_INBOX.>", None),
            ("_INBOX.edge.>", None),
            ("$JS.>", None),
            (">", None),
        ];
        let mut publish = vec![
            STRANGER,
            "vault._control",
            "vault._body.0123.0000000100000000",
            announce.as_str(),
            own.as_str(),
            "$JS.API.STREAM.LIST",
            "$JS.API.STREAM.INFO.FRAMEX_STREAMS",
            "$JS.API.DIRECT.GET.FRAMEX_STREAMS",
            "$KV.bucket.key",
            "anything",
        ];
        if calls != Some("hello.Hello.hello") && plugin != "hello" {
            publish.push("hello.Hello.hello");
        }
        let expected: Vec<String> = listen
            .iter()
            .map(|(subject, group)| match group {
                None => format!("Subscription to {subject}"),
                Some(group) => format!("Subscription to {subject} using queue {group}"),
            })
            .chain(
                publish
                    .iter()
                    .map(|subject| format!("Publish to {subject}")),
            )
            .collect();
        assert_eq!(
            refused(&mut wire, &listen, &publish).await,
            expected,
            "{user}"
        );
    }
}

#[tokio::test]
async fn an_edge_calls_everything_and_poses_as_nobody() {
    let server = configured().await;
    let mut wire = login(&server, "edge").await;
    let listen = [
        ("_INBOX.edge.Yk3r1.*", None),
        ("_framex.announce.>", None),
        ("_framex.stream.abc.>", None),
        ("_framex.stream.abc.def.*", None),
    ];
    let publish = [
        STRANGER,
        "vault.Vault.open.0123456789abcdef",
        "vault._control",
        "vault._control.0123456789abcdef",
        "vault._body.0123456789abcdef.0000000100000000",
        "vault._describe.0123456789abcdef",
        "$SRV.PING",
        "$SRV.INFO.vault.0123456789abcdef",
        "_framex.fence",
        "$JS.API.STREAM.INFO.FRAMEX_STREAMS",
        "$JS.API.STREAM.CREATE.FRAMEX_STREAMS",
        "$JS.API.STREAM.UPDATE.FRAMEX_STREAMS",
        "$JS.API.DIRECT.GET.FRAMEX_STREAMS",
    ];
    assert_eq!(refused(&mut wire, &listen, &publish).await, [""; 0]);

    let listen = [
        (STRANGER, Some("vault")),
        (STRANGER, None),
        ("$SRV.PING", None),
        ("_INBOX.>", None),
        ("_INBOX.echo.*", None),
        (">", None),
    ];
    let publish = [
        "_framex.announce.vault.1",
        "_INBOX.observer.1",
        "_framex.stream.abc.def.1",
        "_framex.stream.abc.def",
        "$JS.API.INFO",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.DELETE.FRAMEX_STREAMS",
        "$JS.API.STREAM.INFO.OTHER",
        "$JS.API.STREAM.MSG.GET.FRAMEX_STREAMS",
        "$KV.bucket.key",
        "$SYS.REQ.SERVER.PING",
    ];
    assert_eq!(
        refused(&mut wire, &listen, &publish).await.len(),
        listen.len() + publish.len()
    );
}

#[tokio::test]
async fn an_observer_asks_who_is_there_and_calls_nothing() {
    let server = configured().await;
    let mut wire = login(&server, "observer").await;
    let listen = [
        ("_INBOX.observer.Yk3r1.*", None),
        ("_framex.announce.>", None),
    ];
    let publish = [
        "$SRV.INFO",
        "vault._describe.0123456789abcdef",
        "_framex.fence",
    ];
    assert_eq!(refused(&mut wire, &listen, &publish).await, [""; 0]);

    let listen = [(STRANGER, None), ("$SRV.>", None), ("_INBOX.edge.>", None)];
    let publish = [
        STRANGER,
        "vault._control",
        "_framex.announce.vault.1",
        "_INBOX.edge.1",
    ];
    assert_eq!(
        refused(&mut wire, &listen, &publish).await.len(),
        listen.len() + publish.len()
    );
}

#[tokio::test]
async fn nobody_else_gets_in() {
    let server = configured().await;
    for (user, password) in [
        ("edge", "wrong"),
        ("edge", ""),
        ("root", "root-dev"),
        ("", ""),
    ] {
        let refused = Wire::login(&server, user, password).await.err();
        assert_eq!(
            refused.as_deref(),
            Some("Authorization Violation"),
            "{user}"
        );
    }
}

/// The life of a call and of a stream across the users, each with its own rights.
#[tokio::test]
async fn calls_streams_and_discovery_work_with_these_rights() {
    let server = configured().await;
    let mut worker = login(&server, "speaker").await;
    worker
        .subscribe("speaker.Speaker.words", Some("speaker"))
        .await;
    worker.subscribe("speaker._control.*", None).await;
    worker.subscribe("$SRV.PING", None).await;
    worker.subscribe("_INBOX.speaker.w1.*", None).await;
    assert_eq!(worker.fence().await, [""; 0]);

    for caller in ["edge", "megaphone"] {
        let mut wire = login(&server, caller).await;
        wire.subscribe(&format!("_INBOX.{caller}.abc.*"), None)
            .await;
        wire.subscribe("_framex.announce.>", None).await;
        let reply = format!("_INBOX.{caller}.abc.1");
        wire.publish("speaker.Speaker.words", Some(&reply), &[], b"{}")
            .await;

        let call = worker.message().await;
        assert_eq!(call.reply.as_deref(), Some(reply.as_str()));
        // A stream is many replies; each may carry a reply subject of its own.
        for chunk in 1..=50 {
            let header = format!("Framex-Chunk: {chunk}");
            worker
                .publish(&reply, Some("_INBOX.speaker.w1.1"), &[&header], b"\"word\"")
                .await;
        }
        for chunk in 1..=50 {
            let message = wire.message().await;
            assert!(
                message
                    .headers
                    .contains(&format!("Framex-Chunk: {chunk}\r\n"))
            );
        }
        wire.publish("speaker._control.0123", None, &[], b"{}")
            .await;
        assert_eq!(worker.message().await.subject, "speaker._control.0123");

        let mut announcer = login(&server, "speaker").await;
        announcer
            .publish("_framex.announce.speaker.0123", None, &[], b"{}")
            .await;
        assert_eq!(
            wire.message().await.subject,
            "_framex.announce.speaker.0123"
        );

        // Nobody listens there any more: the worker learns it at its own inbox.
        drop(wire);
        let gone = loop {
            worker
                .publish(&reply, Some("_INBOX.speaker.w1.2"), &[], b"")
                .await;
            if let Some(message) = worker.messages().await.pop() {
                break message;
            }
        };
        assert!(gone.no_responders(), "{gone:?}");
    }

    let mut observer = login(&server, "observer").await;
    observer.subscribe("_INBOX.observer.abc.*", None).await;
    observer
        .publish("$SRV.PING", Some("_INBOX.observer.abc.1"), &[], b"")
        .await;
    let ping = worker.message().await;
    assert_eq!(ping.subject, "$SRV.PING");
    worker
        .publish(&ping.reply.unwrap(), None, &[], b"pong")
        .await;
    assert_eq!(observer.message().await.payload, b"pong");
}
