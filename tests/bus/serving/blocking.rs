//! Handlers that hold their thread.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_stops_nobody_else() {
    let server = NatsServer::start().await;
    let plugins = [
        PluginDefinition::of::<Callee>(),
        PluginDefinition::of::<Nuisance>(),
    ];
    let _bus = serve_at(&server, &plugins).await;
    let client = client(&server).await;
    // More than there are threads, the first calls ever and later ones.
    for _ in 0..2 {
        let mut blocked = Vec::new();
        for _ in 0..6 {
            blocked.push(begin(&client, "nuisance.Nuisance.block", "", json!({"ms": 1500})).await);
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(800) {
            let asked = Instant::now();
            ask(&client, "callee.Callee.echo", json!({"value": 1})).await;
            assert!(
                asked.elapsed() < Duration::from_millis(600),
                "{:?}",
                asked.elapsed()
            );
        }
        for (_, mut answers) in blocked {
            let answer = patiently("an answer", answers.next())
                .await
                .expect("an answer");
            assert_eq!(answer.payload, "1500");
        }
        assert!(
            began.elapsed() < Duration::from_millis(3500),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_now_and_then_holds_up_only_its_own_calls() {
    let server = NatsServer::start().await;
    let plugins = [
        PluginDefinition::of::<Callee>(),
        PluginDefinition::of::<Nuisance>(),
    ];
    let _bus = serve_at(&server, &plugins).await;
    let client = client(&server).await;
    for _ in 0..100 {
        ask(&client, "nuisance.Nuisance.sometimes", json!({})).await;
    }
    // Answers of the same turn, and then the one that blocks.
    for n in 0..20 {
        let ms = (n == 19).then_some(1500);
        begin(
            &client,
            "nuisance.Nuisance.sometimes",
            "",
            json!({"ms": ms}),
        )
        .await;
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(800) {
        let asked = Instant::now();
        ask(&client, "callee.Callee.echo", json!({"value": 1})).await;
        assert!(
            asked.elapsed() < Duration::from_millis(600),
            "{:?}",
            asked.elapsed()
        );
    }
}

#[tokio::test]
async fn a_panic_in_a_drop_costs_one_call() {
    let server = NatsServer::start().await;
    let _bus = serve_at(&server, &[PluginDefinition::of::<Nuisance>()]).await;
    let client = client(&server).await;
    let args = json!({"hurt": true});
    let (_, mut answers) = begin(&client, "nuisance.Nuisance.sore", "", args).await;
    tokio::time::sleep(A_MOMENT).await;
    for _ in 0..3 {
        let answer = ask(&client, "nuisance.Nuisance.sore", json!({"hurt": false})).await;
        assert_eq!(answer.payload, "null");
    }
    // Its answer went before, or not at all.
    let answer = answers.next().now_or_never().flatten();
    let code = answer
        .as_ref()
        .map(|a| header(a, "Nats-Service-Error-Code"));
    assert!(matches!(code, None | Some(Some("504" | "500"))), "{code:?}");
}
