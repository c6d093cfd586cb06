//! The embedded KMS in the place of the SDK's HTTP client.

use super::control::Plan;
use super::{Answer, Embedded, operation};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use std::io;
use std::sync::Arc;

/// An HTTP client for the SDK that answers in the process.
#[derive(Clone, Debug)]
pub struct InProcess(Arc<Embedded>);

impl InProcess {
    /// The SDK's way to this embedded KMS.
    pub fn new(embedded: Arc<Embedded>) -> Self {
        Self(embedded)
    }

    fn answer(&self, target: &str, request: &HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let authorization = request.headers().get("authorization").unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        match self.0.answer(target, authorization, body) {
            Ok(answer) => response(answer),
            Err(broken) => Err(ConnectorError::user(broken.0.into())),
        }
    }
}

impl HttpClient for InProcess {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        match self.0.control().begin(operation(&target)) {
            Plan::Answer => HttpConnectorFuture::ready(self.answer(&target, &request)),
            Plan::AnswerAfter(delay) => {
                let this = self.clone();
                HttpConnectorFuture::new(async move {
                    tokio::time::sleep(delay).await;
                    this.answer(&target, &request)
                })
            }
            Plan::Say { status, code, message } => {
                HttpConnectorFuture::ready(response(Answer::fault(status, &code, &message)))
            }
            Plan::SayBody { status, text } => {
                HttpConnectorFuture::ready(response(Answer { status, body: text.into_bytes() }))
            }
            Plan::Reset => {
                let reset = io::Error::from(io::ErrorKind::ConnectionReset);
                HttpConnectorFuture::ready(Err(ConnectorError::io(reset.into())))
            }
            Plan::Hang => HttpConnectorFuture::new(std::future::pending()),
        }
    }
}

fn response(answer: Answer) -> Result<HttpResponse, ConnectorError> {
    let status = answer.status.try_into().map_err(|_| ConnectorError::user("no such HTTP status".into()))?;
    let mut response = HttpResponse::new(status, SdkBody::from(answer.body));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.1");
    response.headers_mut().insert("x-amzn-requestid", request_id());
    Ok(response)
}

/// A request id like those of AWS.
pub(super) fn request_id() -> String {
    let mut bytes = [0; 16];
    // A request id without randomness is still one.
    let _ = getrandom::fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
