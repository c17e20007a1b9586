//! Plugins that come and go while they are called.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

/// Asks all the time, and counts.
struct Load {
    answered: Arc<AtomicUsize>,
    failed: Arc<std::sync::Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    stop: Arc<AtomicUsize>,
}

impl Load {
    fn start(
        client: &Client,
        tasks: usize,
        api: &'static str,
        args: Value,
        pause: Duration,
    ) -> Self {
        let answered: Arc<AtomicUsize> = Arc::default();
        let failed: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let stop: Arc<AtomicUsize> = Arc::default();
        let tasks = (0..tasks).map(|_| {
            let (client, args) = (client.clone(), args.to_string());
            let (answered, failed, stop) = (answered.clone(), failed.clone(), stop.clone());
            tokio::spawn(async move {
                while stop.load(Ordering::Relaxed) == 0 {
                    let failure = match client.request(api, args.clone().into()).await {
                        Ok(answer) if header(&answer, "Nats-Service-Error").is_none() => None,
                        Ok(answer) => Some(String::from_utf8_lossy(&answer.payload).into_owned()),
                        Err(error) => Some(error.to_string()),
                    };
                    match failure {
                        None => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Some(failure) => failed.lock().expect("no panic").push(failure),
                    }
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
            })
        });
        Self {
            tasks: tasks.collect(),
            answered,
            failed,
            stop,
        }
    }

    async fn end(self) -> (usize, Vec<String>) {
        self.stop.store(1, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no panic");
        }
        let failed = self.failed.lock().expect("no panic").clone();
        (self.answered.load(Ordering::Relaxed), failed)
    }
}

/// A worker's way to its broker: `delay` longer each way, so that whatever is lost
/// in between is lost in a test too.
async fn longer_way(server: &NatsServer, delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("nats://{}", listener.local_addr().expect("a port"));
    let broker = server.address();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(broker).await.expect("the broker");
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(carry(near_in, far_out, delay));
            tokio::spawn(carry(far_in, near_out, delay));
        }
    });
    url
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let due = tokio::time::Instant::now() + delay;
            let _ = sender.send((due, buffer[..read].to_vec()));
        }
    };
    let write = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_loses_no_request() {
    const TIMES: usize = 10;
    let server = NatsServer::start().await;
    let client = client(&server).await;
    let url = longer_way(&server, Duration::from_millis(1)).await;
    let serve = || async {
        ready(serve(options(url.clone()), &[PluginDefinition::of::<Callee>()]).await).await
    };
    let mut current = serve().await;
    let start = |tasks, api, args, pause| {
        Load::start(&client, tasks, api, args, Duration::from_millis(pause))
    };
    let slow = json!({"key": "serving drain", "ms": 30});
    let loads = [
        start(16, "callee.Callee.echo", json!({"value": 1}), 0),
        start(4, "callee.Callee.wait", slow, 0),
        start(2, "callee.Callee.get_thing", json!({"id": 1}), 7),
        start(2, "callee.Callee.respond", json!({}), 90),
    ];
    let mut longest = Duration::ZERO;
    for _ in 0..TIMES {
        let next = serve().await;
        let began = Instant::now();
        assert_eq!(current.drain(Duration::from_secs(5)).await, 0);
        longest = longest.max(began.elapsed());
        current.close().await;
        current = next;
    }
    for load in loads {
        let (answered, failed) = load.end().await;
        assert_eq!(failed, [""; 0], "of {answered}");
        assert!(answered > TIMES, "{answered}");
    }
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[tokio::test]
async fn a_plugin_is_withdrawn_and_offered_again() {
    let server = NatsServer::start().await;
    let plugin = PluginDefinition::of::<Callee>();
    let bus = serve_at(&server, &[plugin]).await;
    let client = client(&server).await;
    for n in 0..2 {
        assert_eq!(
            ask(&client, "callee.Callee.echo", json!({"value": n}))
                .await
                .payload,
            n.to_string()
        );
        bus.withdraw("callee").await;
        let asked = client.request("callee.Callee.echo", "{}".into()).await;
        let kind = asked.expect_err("nobody is there").kind();
        assert_eq!(kind, async_nats::RequestErrorKind::NoResponders);
        let instance = plugin.build(&no_settings()).expect("a plugin");
        bus.serve(&instance).expect("it is gone");
        bus.offer("callee");
        bus.ready(Duration::from_secs(5))
            .await
            .expect("it is ready");
    }
}

#[tokio::test]
async fn what_is_served_is_served_again_after_the_broker_returns() {
    let server = NatsServer::start().await;
    let bus = serve_at(&server, &[PluginDefinition::of::<Callee>()]).await;
    server.kill();
    let mut state = bus.state();
    patiently("it is noticed", state.wait_for(|state| !state.offered))
        .await
        .expect("a state");
    server.restart().await;
    patiently("it is back", state.wait_for(|state| state.offered))
        .await
        .expect("a state");
    let client = client(&server).await;
    assert_eq!(
        ask(&client, "callee.Callee.echo", json!({"value": 1}))
            .await
            .payload,
        "1"
    );
}
