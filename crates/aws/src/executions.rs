//! Step Functions: named executions of one state machine.

use aws_sdk_sfn::Client;
use aws_sdk_sfn::types::ExecutionStatus as State;
use gate_core::ports::{ExecutionStatus, Executions, Started};
use gate_core::run::EXECUTION_NAME_CHARS;
use gate_core::step::{ErrorName, StepError};

use crate::errors::Fault;

/// The most bytes of an execution's input (Step Functions API, `StartExecution`: `input`, in UTF-8).
pub(crate) const INPUT_BYTES: usize = 262_144;

const START: &str = "states:StartExecution";
const DESCRIBE: &str = "states:DescribeExecution";

/// One state machine.
#[derive(Clone, Debug)]
pub struct StateMachine {
    client: Client,
    arn: String,
}

impl StateMachine {
    pub(crate) fn new(client: Client, arn: &str) -> Self {
        Self { client, arn: arn.to_owned() }
    }

    /// The ARN of the execution of this name: the machine's own, without version or alias, of the resource type `execution`.
    fn execution(&self, name: &str) -> Result<String, StepError> {
        let parts: Vec<_> = self.arn.split(':').collect();
        match *parts {
            ["arn", partition, "states", region, account, "stateMachine", machine]
            | ["arn", partition, "states", region, account, "stateMachine", machine, _] => {
                Ok(format!("arn:{partition}:states:{region}:{account}:execution:{machine}:{name}"))
            }
            _ => Err(StepError::new(ErrorName::Configuration, "the state machine's ARN is not one of a state machine")),
        }
    }
}

impl Executions for StateMachine {
    async fn start(&self, name: &str, input: &str) -> Result<Started, StepError> {
        check(name, input)?;
        let sent = self.client.start_execution().state_machine_arn(&self.arn).name(name).input(input).send().await;
        match sent {
            Ok(_) => Ok(Started::Now),
            Err(error) => {
                let fault = Fault::of(START, &error);
                if fault.is("ExecutionAlreadyExists") { Ok(Started::Before) } else { Err(fault.into()) }
            }
        }
    }

    async fn status(&self, name: &str) -> Result<Option<ExecutionStatus>, StepError> {
        let sent = self.client.describe_execution().execution_arn(self.execution(name)?).send().await;
        match sent {
            Ok(execution) => match execution.status() {
                // A child that waits for its parent's redrive has not ended.
                State::Running | State::PendingRedrive => Ok(Some(ExecutionStatus::Running)),
                State::Succeeded => Ok(Some(ExecutionStatus::Succeeded)),
                State::Failed | State::TimedOut | State::Aborted => Ok(Some(ExecutionStatus::Unfinished)),
                _ => Err(Fault::unexpected(DESCRIBE, "unknown status").into()),
            },
            Err(error) => {
                let fault = Fault::of(DESCRIBE, &error);
                if fault.is("ExecutionDoesNotExist") { Ok(None) } else { Err(fault.into()) }
            }
        }
    }
}

/// What the service would refuse.
fn check(name: &str, input: &str) -> Result<(), StepError> {
    let bad = |message: String| Err(StepError::new(ErrorName::BadInput, message));
    if name.is_empty() || name.chars().count() > EXECUTION_NAME_CHARS {
        return bad(format!("the name of an execution has 1 to {EXECUTION_NAME_CHARS} characters"));
    }
    if input.len() > INPUT_BYTES {
        return bad(format!("the input of an execution has {} bytes; at most {INPUT_BYTES} are taken", input.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
    use aws_sdk_sfn::operation::start_execution::StartExecutionOutput;
    use aws_sdk_sfn::primitives::DateTime;
    use aws_smithy_mocks::{Rule, mock};

    use super::*;
    use crate::testing::{client, json_error};

    const ARN: &str = "arn:aws:states:eu-west-1:111122223333:stateMachine:gate-intake";

    fn machine(arn: &str, rules: &[&Rule]) -> StateMachine {
        StateMachine::new(client!(aws_sdk_sfn, rules), arn)
    }

    #[tokio::test]
    async fn a_name_that_is_taken_is_a_success() {
        let fresh = mock!(Client::start_execution)
            .match_requests(|input| {
                (input.state_machine_arn(), input.name(), input.input()) == (Some(ARN), Some("run-1"), Some("{}"))
            })
            .then_output(|| {
                let output = StartExecutionOutput::builder().execution_arn("arn").start_date(DateTime::from_secs(0));
                output.build().unwrap()
            });
        assert_eq!(machine(ARN, &[&fresh]).start("run-1", "{}").await, Ok(Started::Now));
        let taken = mock!(Client::start_execution)
            .then_http_response(|| json_error(400, "com.amazonaws.states#ExecutionAlreadyExists"));
        assert_eq!(machine(ARN, &[&taken]).start("run-1", "{}").await, Ok(Started::Before));
    }

    #[tokio::test]
    async fn other_errors_have_their_names() {
        for (code, name) in [
            ("ExecutionLimitExceeded", ErrorName::RateLimited),
            ("StateMachineDoesNotExist", ErrorName::Configuration),
            ("StateMachineDeleting", ErrorName::Transient),
            ("InvalidName", ErrorName::Configuration),
            ("KmsAccessDeniedException", ErrorName::Denied),
        ] {
            let rule = mock!(Client::start_execution).then_http_response(move || json_error(400, code));
            let error = machine(ARN, &[&rule]).start("run-1", "{}").await.unwrap_err();
            assert_eq!(error.name, name, "{code}");
            assert!(error.message.contains("states:StartExecution") && error.message.contains(code), "{error}");
        }
    }

    #[tokio::test]
    async fn what_the_service_would_refuse_is_not_sent() {
        let never = mock!(Client::start_execution).then_http_response(|| json_error(500, "InternalFailure"));
        let machine = machine(ARN, &[&never]);
        for (name, input) in [
            (String::new(), String::new()),
            ("n".repeat(EXECUTION_NAME_CHARS + 1), String::new()),
            ("n".to_owned(), "x".repeat(INPUT_BYTES + 1)),
        ] {
            assert_eq!(machine.start(&name, &input).await.unwrap_err().name, ErrorName::BadInput);
        }
        assert_eq!(never.num_calls(), 0);
        for (name, input) in [
            ("n".repeat(EXECUTION_NAME_CHARS), "x".repeat(INPUT_BYTES)),
            ("n".repeat(EXECUTION_NAME_CHARS - 1), "x".repeat(INPUT_BYTES - 1)),
        ] {
            assert_eq!(check(&name, &input), Ok(()));
        }
    }

    #[tokio::test]
    async fn every_state_is_one_of_three_or_an_error() {
        for (state, expected) in [
            ("RUNNING", Ok(Some(ExecutionStatus::Running))),
            ("PENDING_REDRIVE", Ok(Some(ExecutionStatus::Running))),
            ("SUCCEEDED", Ok(Some(ExecutionStatus::Succeeded))),
            ("FAILED", Ok(Some(ExecutionStatus::Unfinished))),
            ("TIMED_OUT", Ok(Some(ExecutionStatus::Unfinished))),
            ("ABORTED", Ok(Some(ExecutionStatus::Unfinished))),
            ("SLEEPING", Err(ErrorName::Transient)),
        ] {
            let rule = mock!(Client::describe_execution)
                .match_requests(|input| {
                    input.execution_arn() == Some("arn:aws:states:eu-west-1:111122223333:execution:gate-intake:run-1")
                })
                .then_output(move || {
                    let output = DescribeExecutionOutput::builder().execution_arn("arn").state_machine_arn(ARN);
                    output.start_date(DateTime::from_secs(0)).status(State::from(state)).build().unwrap()
                });
            let found = machine(ARN, &[&rule]).status("run-1").await.map_err(|error| error.name);
            assert_eq!(found, expected, "{state}");
        }
        let none = mock!(Client::describe_execution).then_http_response(|| json_error(400, "ExecutionDoesNotExist"));
        assert_eq!(machine(ARN, &[&none]).status("run-1").await, Ok(None));
        let denied = mock!(Client::describe_execution).then_http_response(|| json_error(400, "AccessDeniedException"));
        assert_eq!(machine(ARN, &[&denied]).status("run-1").await.unwrap_err().name, ErrorName::Denied);
    }

    #[tokio::test]
    async fn the_execution_is_named_from_the_machine() {
        let name = |arn: &str| machine(arn, &[]).execution("x");
        let versioned = format!("{ARN}:7");
        assert_eq!(name(&versioned).unwrap(), "arn:aws:states:eu-west-1:111122223333:execution:gate-intake:x");
        assert!(
            name("arn:aws-cn:states:cn-north-1:1:stateMachine:m")
                .unwrap()
                .starts_with("arn:aws-cn:states:cn-north-1:1:")
        );
        for arn in ["", "gate-intake", "arn:aws:sns:eu-west-1:111122223333:gate"] {
            assert_eq!(name(arn).unwrap_err().name, ErrorName::Configuration, "{arn}");
        }
    }
}
