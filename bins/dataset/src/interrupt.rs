//! SIGINT, SIGTERM and SIGHUP: unfinished files are removed, and the process ends.

use std::process::exit;

use natter_broker::signals::Signal;
use natter_database::partial::remove_all;
use tokio::signal::unix::SignalKind;

/// The exit status after a signal, less the signal's number, as shells count.
const SIGNALLED: i32 = 128;

/// Waits for signals in a thread of its own; the work goes on in the others. A signal that was ignored when the process
/// started stays ignored.
pub(crate) fn watch() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    let signals = {
        let _entered = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .map(|kind| Signal::receive(kind).map(|signal| (kind, signal)))
    };
    // Where signals cannot be had, they end the process as they always do.
    let [Ok(interrupt), Ok(terminate), Ok(hangup)] = signals else { return };
    std::thread::spawn(move || {
        let kind = runtime.block_on(first([interrupt, terminate, hangup]));
        remove_all();
        exit(SIGNALLED + kind.as_raw_value());
    });
}

/// The first of these signals that comes.
async fn first(signals: [(SignalKind, Signal); 3]) -> SignalKind {
    let [(first, mut one), (second, mut two), (third, mut three)] = signals;
    tokio::select! {
        () = one.next() => first,
        () = two.next() => second,
        () = three.next() => third,
    }
}
