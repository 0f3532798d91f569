//! The one place where answers are held to what Lambda passes on.

use std::io::{self, Write};

use lambda_http::Body;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::problem::{INCOMPLETE, fault_entry};
use crate::flow::more_faults;
use crate::limits::LAMBDA_ANSWER_BYTES;

/// More than all headers take, and what is around them and the body.
const AROUND: usize = 64 * 1024;
/// A byte of a text takes at most as many in JSON.
const ESCAPED: usize = 6;

/// Gives an answer that Lambda passes on, if it can be made one: of what was done nothing is left out, but of what
/// there is to say about it all but how much that is. None when that is not enough.
pub(super) fn fitted(mut answer: ApiGatewayV2httpResponse) -> Option<ApiGatewayV2httpResponse> {
    if fits(&answer) {
        return Some(answer);
    }
    let Some(Body::Text(text)) = answer.body.take() else { return None };
    answer.body = Some(Body::Text(shortened(&text)?));
    fits(&answer).then_some(answer)
}

fn fits(answer: &ApiGatewayV2httpResponse) -> bool {
    let bytes = answer.body.as_ref().map_or(0, |body| body.as_ref().len());
    // Most answers are so small that nobody has to count.
    ESCAPED * bytes + AROUND < LAMBDA_ANSWER_BYTES
        || size(answer).is_ok_and(|size| size <= LAMBDA_ANSWER_BYTES)
}

/// As Lambda counts it: the JSON that the function gives.
fn size(answer: &ApiGatewayV2httpResponse) -> serde_json::Result<usize> {
    struct Count(usize);

    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    serde_json::to_writer(&mut count, answer)?;
    Ok(count.0)
}

/// A body with no more than how many warnings there are, and with one fault of each part and that there are more.
/// Flows in it stay as they are written.
fn shortened(text: &str) -> Option<String> {
    #[derive(Deserialize, Serialize)]
    struct Enveloped<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
        meta: Map<String, Value>,
    }

    if let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(text) {
        return serde_json::to_string(&with_one_fault_each(parts)).ok();
    }
    if let Ok(Enveloped { data, mut meta }) = serde_json::from_str(text) {
        if let Some(Value::Array(warnings)) = meta.get_mut("warnings") {
            *warnings = vec![left_out(warnings.len()).into()];
        }
        let meta = serde_json::to_string(&meta).ok()?;
        let parts = serde_json::from_str(data.get()).map(with_one_fault_each);
        let parts = parts.ok().and_then(|parts| serde_json::to_string(&parts).ok());
        let data = parts.as_deref().unwrap_or_else(|| data.get());
        return Some([r#"{"data":"#, data, r#","meta":"#, &meta, "}"].concat());
    }
    let mut problem: Map<String, Value> = serde_json::from_str(text).ok()?;
    if let Some(Value::Array(errors)) = problem.get_mut("errors") {
        one_fault(errors);
    }
    // What is wrong with each item of a list.
    for item in problem.get_mut("data").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::Array(errors)) = item.get_mut("errors") {
            one_fault(errors);
        }
    }
    Some(Value::from(problem).to_string())
}

fn with_one_fault_each(parts: Vec<&RawValue>) -> Vec<Box<RawValue>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Failed {
        errors: Vec<Value>,
    }

    let shorter = |part: &RawValue| {
        let Failed { mut errors } = serde_json::from_str(part.get()).ok()?;
        one_fault(&mut errors);
        serde_json::value::to_raw_value(&json!({ "errors": errors })).ok()
    };
    parts.into_iter().map(|part| shorter(part).unwrap_or_else(|| part.to_owned())).collect()
}

fn one_fault(faults: &mut Vec<Value>) {
    if faults.len() > 2 {
        faults.truncate(1);
        faults.push(fault_entry(&more_faults(), INCOMPLETE.as_u16()).into());
    }
}

/// Instead of so many warnings.
fn left_out(count: usize) -> Map<String, Value> {
    let mut entry = fault_entry(&more_faults(), INCOMPLETE.as_u16());
    entry.insert("message".into(), format!("{count} warnings do not fit the answer.").into());
    entry.insert("count".into(), count.into());
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: String) -> ApiGatewayV2httpResponse {
        let mut answer = ApiGatewayV2httpResponse::default();
        answer.body = Some(Body::Text(body));
        answer
    }

    fn body(answer: &ApiGatewayV2httpResponse) -> &str {
        std::str::from_utf8(answer.body.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn an_answer_that_fits_to_the_byte_is_passed_on_as_it_is() {
        let around = size(&answer(String::new())).unwrap();
        let most = LAMBDA_ANSWER_BYTES - around;
        for (letter, bytes) in [("x", 1), ("\"", 2), ("\u{1}", 6)] {
            let text = letter.repeat(most / bytes);
            let fitting = fitted(answer(text.clone())).unwrap();
            assert_eq!(body(&fitting), text);
            assert!(fitted(answer(text + letter)).is_none(), "{letter:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_flows_stay_as_they_are() {
        let flow = r#"{"z":1.10,"a":12345678901234567890123}"#;
        let warning = format!(r#"{{"message":"{}","code":422}}"#, "w".repeat(700));
        let warnings = vec![warning.as_str(); 10_000].join(",");
        let meta = format!(r#"{{"total":2,"warnings":[{warnings}]}}"#);
        let failed = format!(r#"{{"errors":[{}]}}"#, vec![warning.as_str(); 100].join(","));
        let told = |parts: &str| format!(r#"{{"data":[{parts}],"meta":{meta}}}"#);
        let fitting = fitted(answer(told(&format!("{flow},{failed},null")))).unwrap();
        let [flow_of, rest] = body(&fitting).split_at(9 + flow.len()).into();
        assert_eq!(flow_of, format!("{{\"data\":[{flow}"));
        let rest: Value =
            serde_json::from_str(&format!("[0{}", &rest[..rest.find(",\"meta\"").unwrap()])).unwrap();
        assert_eq!((rest[1]["errors"].as_array().unwrap().len(), &rest[2]), (2, &Value::Null));
        assert_eq!(rest[1]["errors"][1]["reason"], "more_faults");
        let meta: Value = serde_json::from_str(body(&fitting)).unwrap();
        assert_eq!(
            meta["meta"],
            json!({"total": 2, "warnings": [{"message": "10000 warnings do not fit the answer.", "code": 422,
                "reason": "more_faults", "pointer": "", "count": 10_000}]})
        );

        // One flow, many of which nothing is to be said, a bare array, and a problem.
        let one = fitted(answer(format!(r#"{{"data":{flow},"meta":{{"warnings":[{warnings}]}}}}"#))).unwrap();
        assert!(body(&one).starts_with(&format!(r#"{{"data":{flow},"meta":{{"warnings":[{{"#)));
        let bare = fitted(answer(format!("[{}]", vec![failed.as_str(); 100].join(",")))).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Value>>(body(&bare)).unwrap().len(), 100);
        let problem = fitted(answer(format!(r#"{{"title":"t","errors":[{warnings}]}}"#))).unwrap();
        let problem: Value = serde_json::from_str(body(&problem)).unwrap();
        assert_eq!((&problem["title"], problem["errors"].as_array().unwrap().len()), (&json!("t"), 2));
        let parts = vec![failed.as_str(); 100].join(",");
        let refused = fitted(answer(format!(r#"{{"title":"t","errors":[{warning}],"data":[{parts}]}}"#)));
        let refused: Value = serde_json::from_str(body(&refused.unwrap())).unwrap();
        assert_eq!(refused["errors"].as_array().unwrap().len(), 1);
        assert_eq!(refused["data"][99]["errors"].as_array().unwrap().len(), 2);
        // What cannot be made shorter.
        assert!(fitted(answer(json!({"data": "d".repeat(7_000_000), "meta": {}}).to_string())).is_none());
        assert!(fitted(answer("no JSON ".repeat(1_000_000))).is_none());
    }
}
