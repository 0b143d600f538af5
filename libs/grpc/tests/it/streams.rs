use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{sleep, timeout};

use crate::stand::{Stand, ask};

/// More than a thousand: where HTTP/2 lets no more begin on a connection, they wait with no word to anybody.
const CALLS: usize = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_calls_run_on_one_connection() {
    let stand = Stand::start().await;
    let client = stand.client("edge");
    let running: Vec<_> = (0..CALLS)
        .map(|_| {
            let mut client = client.clone();
            let mut call = ask("without end");
            call.set_timeout(Duration::from_secs(60));
            tokio::spawn(async move { client.get_standing(call).await })
        })
        .collect();
    let all_run = async {
        while stand.handler.calls.load(Ordering::SeqCst) < CALLS {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = timeout(Duration::from_secs(20), all_run).await;
    in_time.expect("some wait for others to end");
    let mut client = client.clone();
    client.get_standing(ask("")).await.unwrap();
    for call in running {
        call.abort();
    }
}
