//! Heartbeats. The client sends one each 30 s, which cannot be changed: here its clock is moved on.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use log::{LevelFilter, Log, Metadata, Record};
use tokio::time;

use crate::lab::*;

/// The client's own interval.
const INTERVAL: Duration = Duration::from_secs(30);

/// What the client says of answers to its log, and to nobody else.
static ANSWERED: AtomicUsize = AtomicUsize::new(0);

struct CountAnswers;

impl Log for CountAnswers {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        if record.args().to_string().starts_with("received heartbeat reply, resetting") {
            ANSWERED.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn flush(&self) {}
}

/// Runs the behaviour in a thread with a clock of its own.
pub async fn in_time_of_its_own() -> Outcome {
    log::set_logger(&CountAnswers).map_err(|error| error.to_string())?;
    log::set_max_level(LevelFilter::Debug);
    let thread = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(heartbeat()).map_err(|error| error.to_string())
    });
    let outcome = tokio::task::spawn_blocking(|| thread.join()).await?;
    log::set_max_level(LevelFilter::Off);
    outcome.map_err(|_| -> Box<dyn Error> { "the thread panicked".into() })?.map_err(Into::into)
}

/// The socket at /short ends what has been silent for 1.5 s, as a process may be on a busy machine: then another
/// connection lasts.
async fn heartbeat() -> Outcome {
    for _ in 0..9 {
        if lasts().await.is_ok() {
            return ok();
        }
    }
    lasts().await?;
    ok()
}

/// Heartbeats for three times as long as the server waits, then none.
async fn lasts() -> Done {
    let mut user = client(&server(), "/short", &[])?;
    user.connect().await?;
    let channel = join(&user, "echo:rust").await?;
    let began = Instant::now();
    let mut heartbeats = 0;
    while began.elapsed() < Duration::from_millis(4500) || heartbeats < 5 {
        let answered = ANSWERED.load(Ordering::SeqCst);
        time::pause();
        time::advance(INTERVAL).await;
        time::resume();
        until("the heartbeat is answered", || ANSWERED.load(Ordering::SeqCst) > answered || channel.is_closing()).await?;
        time::sleep(Duration::from_millis(300)).await;
        heartbeats += 1;
    }
    check(&channel).await?;
    until("the server ends what is silent", || channel.is_closing()).await
}
