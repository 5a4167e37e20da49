//! Step Functions: named executions of one state machine.

use aws_sdk_sfn::Client;
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus as State};
use gate_core::ports::{ExecutionStatus, Executions, Started};
use gate_core::run::EXECUTION_NAME_CHARS;
use gate_core::step::{ErrorName, StepError};
use jiff::Timestamp;

use crate::errors::Fault;

/// The most bytes of an execution's input (Step Functions API, `StartExecution`: `input`, in UTF-8).
pub(crate) const INPUT_BYTES: usize = 262_144;

const START: &str = "states:StartExecution";
const DESCRIBE: &str = "states:DescribeExecution";
const LIST: &str = "states:ListExecutions";

/// Executions on one page, and the pages that are read of each status (Step Functions API, `ListExecutions`: `maxResults`).
const PAGE: i32 = 1_000;
const PAGES: usize = 5;

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

    async fn unfinished(&self, since: Timestamp) -> Result<Vec<String>, StepError> {
        let mut names = Vec::new();
        for status in [State::Failed, State::TimedOut, State::Aborted] {
            let mut token = None;
            for _ in 0..PAGES {
                let request = self.client.list_executions().state_machine_arn(&self.arn).status_filter(status.clone());
                let sent = request.max_results(PAGE).set_next_token(token).send().await;
                let page = sent.map_err(|error| Fault::of(LIST, &error))?;
                let ended_since = |execution: &ExecutionListItem| {
                    execution.stop_date.is_none_or(|stopped| stopped.secs() >= since.as_second())
                };
                // The newest that were started come first.
                names.extend(page.executions.into_iter().filter(ended_since).map(|execution| execution.name));
                token = page.next_token;
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(names)
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
    use aws_sdk_sfn::operation::list_executions::ListExecutionsOutput;
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

    fn page(names: &[(&str, i64)], next: Option<&str>) -> ListExecutionsOutput {
        let item = |(name, stopped): &(&str, i64)| {
            let item = ExecutionListItem::builder().name(*name).execution_arn("arn").state_machine_arn(ARN);
            let item = item.status(State::Failed).start_date(DateTime::from_secs(0));
            item.stop_date(DateTime::from_secs(*stopped)).build().unwrap()
        };
        let output = ListExecutionsOutput::builder().set_executions(Some(names.iter().map(item).collect()));
        output.set_next_token(next.map(str::to_owned)).build().unwrap()
    }

    fn list(
        status: State,
        token: Option<&'static str>,
        output: impl Fn() -> ListExecutionsOutput + Send + Sync + 'static,
    ) -> Rule {
        mock!(Client::list_executions)
            .match_requests(move |input| {
                (input.state_machine_arn(), input.next_token()) == (Some(ARN), token)
                    && input.status_filter() == Some(&status)
            })
            .then_output(output)
    }

    #[tokio::test]
    async fn what_did_not_finish_is_listed_on_all_pages_and_of_every_kind() {
        let rules = [
            list(State::Failed, None, || page(&[("a", 1_000), ("old", 999)], Some("2"))),
            list(State::Failed, Some("2"), || page(&[("b", 1_001)], None)),
            list(State::TimedOut, None, || page(&[("c", 2_000)], None)),
            list(State::Aborted, None, || page(&[], None)),
        ];
        let machine = machine(ARN, &rules.iter().collect::<Vec<_>>());
        let since = Timestamp::from_second(1_000).unwrap();
        assert_eq!(machine.unfinished(since).await, Ok(["a", "b", "c"].map(str::to_owned).to_vec()));
    }

    #[tokio::test]
    async fn a_list_without_end_is_left_after_some_pages() {
        let endless = mock!(Client::list_executions).then_output(|| page(&[("a", 1)], Some("more")));
        let names = machine(ARN, &[&endless]).unfinished(Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!((names.len(), endless.num_calls()), (3 * PAGES, 3 * PAGES));
        let denied = mock!(Client::list_executions).then_http_response(|| json_error(400, "AccessDeniedException"));
        let error = machine(ARN, &[&denied]).unfinished(Timestamp::UNIX_EPOCH).await.unwrap_err();
        assert_eq!((error.name, error.message.contains(LIST)), (ErrorName::Denied, true), "{error}");
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
