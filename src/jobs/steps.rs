//! Steps of jobs that are due and that nobody has asked for.

use std::rc::Rc;

use durable_objects::job::protocol::QueuedStep;

use crate::app::App;
use crate::gateway::video;
use crate::ports::{PortError, Ports};

/// Takes the steps that are due, one after the other. One that fails is called for again by its job.
///
/// # Errors
/// When an object does not answer.
pub async fn take_steps(app: &Rc<App>, ports: &Rc<Ports>, messages: &[&str]) -> Result<(), PortError> {
    for message in messages {
        match serde_json::from_str::<Vec<QueuedStep>>(message) {
            Ok(due) => {
                for step in due {
                    video::take_step(app, ports, &step.job).await?;
                }
            }
            Err(error) => ports.background.log(&format!("job message refused ({error}): {message}")),
        }
    }
    Ok(())
}
