//! Calls that take a while: cancellation, signs of life, streams.

use super::*;

#[tokio::test]
async fn calls_are_cancelled_by_their_reply_subject() {
    let server = NatsServer::start().await;
    let bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let everyone = "callee._control".to_owned();
    let this_one = format!("callee._control.{}", bus.id());
    for (n, control) in [everyone.clone(), this_one].into_iter().enumerate() {
        let key = format!("serving cancel {n}");
        let (inbox, _answers) = begin(&client, "callee.Callee.hang", "", json!({"key": key})).await;
        until("it runs", || seen(&key).begun == 1).await;
        tell(&client, control.clone(), json!("what?")).await;
        tell(&client, control, json!({"call": inbox, "cancel": true})).await;
        until("it is dropped", || seen(&key).gone == 1).await;
    }
    // Even where the word comes first.
    let inbox = client.new_inbox();
    let cancel = json!({"call": inbox, "cancel": true});
    tell(&client, everyone, cancel).await;
    tokio::time::sleep(A_MOMENT).await;
    let args = json!({"key": "serving late"}).to_string();
    let sent = client.publish_with_reply("callee.Callee.hang", inbox, args.into());
    sent.await.expect("it is sent");
    // On the same subscription: when this one runs, the other has had its turn.
    let args = json!({"key": "serving later"});
    let _answers = begin(&client, "callee.Callee.hang", "", args).await;
    until("the next one runs", || seen("serving later").begun == 1).await;
    let late = seen("serving late");
    assert_eq!(late.begun, late.gone, "it runs");
}

#[tokio::test]
async fn long_calls_beat_until_nobody_listens() {
    let server = NatsServer::start().await;
    let bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let args = json!({"key": "serving beats"});
    let (_, mut answers) = begin(&client, "callee.Callee.hang", "beats", args).await;
    let began = Instant::now();
    for n in 1..=2 {
        let beat = patiently("a beat", answers.next()).await.expect("a beat");
        assert_eq!(header(&beat, "Framex-Beat"), Some(bus.id()));
        assert!(beat.payload.is_empty() && beat.reply.is_some());
        let due = Duration::from_secs(n);
        let late = began.elapsed().saturating_sub(due);
        assert!(
            began.elapsed() + A_MOMENT > due && late < Duration::from_secs(1),
            "{late:?}"
        );
    }
    let silent = json!({"key": "serving no beats"});
    let (_, mut silence) = begin(&client, "callee.Callee.hang", "", silent).await;
    drop(answers);
    until("it is dropped", || seen("serving beats").gone == 1).await;
    // Who did not ask hears nothing, and is not missed.
    assert!(silence.next().now_or_never().is_none());
    assert_eq!(seen("serving no beats").gone, 0);
}

#[tokio::test]
async fn streams_are_numbered_chunks() {
    let server = NatsServer::start().await;
    let _bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let (_, mut answers) = begin(&client, "callee.Callee.count", "", json!({"to": 300})).await;
    for n in 0..300 {
        let chunk = patiently("a chunk", answers.next()).await.expect("a chunk");
        assert_eq!(header(&chunk, "Framex-Chunk"), Some(&*(n + 1).to_string()));
        assert_eq!(json_of(&chunk), json!(n.to_string()));
    }
    let end = patiently("the end", answers.next()).await.expect("the end");
    assert_eq!(
        (header(&end, "Framex-End"), end.payload.len()),
        (Some("300"), 0)
    );

    let (_, mut answers) =
        begin(&client, "callee.Callee.broken", "", json!({"kind": "late"})).await;
    let first = answers.next().await.expect("a chunk");
    assert_eq!(header(&first, "Framex-Chunk"), Some("1"));
    let last = answers.next().await.expect("an error");
    assert_eq!(header(&last, "Nats-Service-Error-Code"), Some("409"));
}

#[tokio::test]
async fn chunks_that_are_ready_together_come_together_to_who_asks() {
    let server = NatsServer::start().await;
    let _bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let asked = "window=1000, batches";
    let (_, mut answers) = begin(&client, "callee.Callee.count", asked, json!({"to": 300})).await;
    let (mut chunks, mut messages) = (0, 0);
    loop {
        let message = patiently("a message", answers.next()).await.expect("one");
        let Some(numbers) = header(&message, "Framex-Chunk") else {
            assert_eq!(header(&message, "Framex-End"), Some("300"));
            break;
        };
        let text = std::str::from_utf8(&message.payload).expect("JSON");
        let lines: Vec<_> = text.split('\n').map(str::to_owned).collect();
        let expected: Vec<_> = (0..lines.len())
            .map(|n| format!("\"{}\"", chunks + n))
            .collect();
        assert_eq!(lines, expected);
        let first = chunks + 1;
        chunks += lines.len();
        match lines.len() {
            1 => assert_eq!(numbers, first.to_string()),
            _ => assert_eq!(numbers, format!("{first}-{chunks}")),
        }
        messages += 1;
    }
    assert!(chunks == 300 && messages < 100, "{messages} messages");
}

#[tokio::test]
async fn a_stream_waits_for_credit() {
    let server = NatsServer::start().await;
    let bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    let client = client(&server).await;
    let control = format!("callee._control.{}", bus.id());
    let args = json!({"key": "serving credit"});
    let (inbox, mut answers) = begin(&client, "callee.Callee.flood", "window=4", args).await;
    let mut last = 0;
    for granted in [4, 7, 57] {
        if granted > 4 {
            let more = json!({"call": inbox, "credit": granted - last});
            tell(&client, control.clone(), more).await;
        }
        while last < granted {
            let chunk = patiently("a chunk", answers.next()).await.expect("a chunk");
            last += 1;
            assert_eq!(header(&chunk, "Framex-Chunk"), Some(&*last.to_string()));
        }
        tokio::time::sleep(A_MOMENT).await;
        assert!(
            answers.next().now_or_never().is_none(),
            "more than {granted}"
        );
    }
    // The handler was not asked for much more than was sent.
    assert!(seen("serving credit").events < 57 + 300);
    tell(&client, control, json!({"call": inbox, "cancel": true})).await;
    until("it is dropped", || seen("serving credit").gone == 1).await;
}
