//! The Lambda function behind the webhook's address.

use gate_aws::Aws;
use gate_aws::function::{self, Settings, SystemClock, Unit};
use gate_core::route::Route;
use gate_core::step::{ErrorName, StepError};
use gate_webhook_receiver::api::{self, Event};
use gate_webhook_receiver::{Answer, Receiver};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::init();
    let (bucket, secret, routes) = match configuration(Settings::from_env()) {
        Ok(configuration) => configuration,
        Err(error) => return function::refuse(error).await,
    };
    let aws = Aws::load().await;
    let receiver = Receiver::new(aws.records(&bucket), aws.secrets(), SystemClock, secret, routes);
    if let Err(error) = receiver.check_secret().await {
        tracing::error!(error_name = %error.name, %error, "the webhook's secret cannot be used");
        if error.name == ErrorName::Configuration {
            return function::refuse(error).await;
        }
    }
    let receiver = &receiver;
    function::serve(|event: Event| async move {
        let answer = api::answer(receiver, &event).await;
        match answer {
            Answer::Unauthorized => function::metric("UnauthorizedDeliveries", 1.0, Unit::Count, None),
            Answer::Accepted => function::metric("AcceptedDeliveries", 1.0, Unit::Count, None),
            _ => {}
        }
        Ok(api::response(answer))
    })
    .await
}

fn configuration(mut settings: Settings) -> Result<(String, String, Vec<Route>), StepError> {
    let (bucket, secret, routes) =
        (settings.text("DATA_BUCKET"), settings.text("WEBHOOK_SECRET"), settings.text("ROUTES"));
    let routes = Route::parse_list(&routes).unwrap_or_else(|error| {
        if !routes.is_empty() {
            settings.fault("ROUTES", &error.to_string());
        }
        Vec::new()
    });
    settings.finish()?;
    Ok((bucket, secret, routes))
}
