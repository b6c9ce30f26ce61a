//! What happens every hour; each part on its own, so that one that fails does not keep another from running.

use std::rc::Rc;

use crate::app::App;
use crate::auth::claim::drain_due;
use crate::gateway::own::check::recheck_all;
use crate::observe::history::end_abandoned_workflows;
use crate::observe::retention::prune_all;
use crate::payments::Desk;
use crate::payments::forfeit::forfeit_closed;
use crate::payments::reconcile::reconcile;
use crate::payments::withdrawals::finish_withdrawals;
use crate::ports::{PortError, Ports};

/// Runs the hour's jobs. What fails is logged and tried again in an hour.
pub async fn run_hourly(app: &Rc<App>, ports: &Rc<Ports>) {
    let note = |job: &str, result: Result<(), PortError>| {
        if let Err(error) = result {
            ports.background.log(&format!("{job}: {error}"));
        }
    };
    // One event may ask the outside and the database only so often: money comes first.
    note("payments", reconcile(&Desk::new(app, ports)).await);
    note("withdrawals", finish_withdrawals(app, ports).await);
    note("merged accounts", drain_due(ports).await);
    note("closed accounts", forfeit_closed(ports).await);
    note("abandoned workflows", end_abandoned_workflows(ports).await);
    note("retention", prune_all(ports, app.config.calls_kept).await);
    // The longest comes last.
    note("checks of endpoints", recheck_all(app, ports).await);
}
