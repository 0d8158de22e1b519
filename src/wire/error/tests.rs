use http::{HeaderName, HeaderValue};

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |&(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    pairs.iter().map(pair).collect()
}

/// Headers, and the wait in them in ms.
type Waits = (&'static [(&'static str, &'static str)], Option<u64>);

fn ms(told: &ErrorTold) -> Option<u64> {
    u64::try_from(told.retry_after?.as_millis()).ok()
}

#[test]
fn u17_an_error_inside_a_200_is_mapped_by_its_words() {
    let cases = [
        (r#"{"error":{"message":"m","type":"server_error","param":null,"code":null}}"#, Class::ServerError),
        (r#"{"error":{"message":"m","type":"overloaded_error"}}"#, Class::Overloaded),
        (r#"{"error":{"message":"m","type":"invalid_request_error","code":null}}"#, Class::InvalidRequest),
        (r#"{"error":{"message":"m","code":429}}"#, Class::RateLimited),
        (r#"{"error":{"message":"m","code":502,"metadata":{}}}"#, Class::ServerError),
        (r#"{"error":"text"}"#, Class::ServerError),
        (
            r#"{"code":"x","error":"This model's maximum prompt length is 8192 but the request contains 9000 tokens."}"#,
            Class::ContextLength,
        ),
        (r#"{"error":{"message":"m","code":"insufficient_quota"}}"#, Class::QuotaExhausted),
    ];
    for (body, class) in cases {
        assert_eq!(read_error(None, &HeaderMap::new(), body.as_bytes()).class, class, "{body}");
    }
}

#[test]
fn bodies_of_every_shape_give_their_message() {
    let cases = [
        (r#"{"error":{"message":"m","type":"t","param":"p","code":"c"}}"#, Some("m"), true),
        (r#"{"error":{"message":"m","type":null,"param":null,"code":"c"}}"#, Some("m"), true),
        (r#"{"error":{"message":"m","type":"t","code":400}}"#, Some("m"), false),
        (r#"{"type":"error","error":{"type":"t","message":"m"}}"#, Some("m"), false),
        (r#"[{"error":{"code":400,"message":"m"}}]"#, Some("m"), false),
        (r#"{"object":"error","message":"m","type":"t"}"#, Some("m"), false),
        (r#"{"error":"m"}"#, Some("m"), false),
        (r#"{"detail":"m"}"#, Some("m"), false),
        (r#"{"detail":[{"msg":"m","type":"missing"}]}"#, Some("m"), false),
        ("<html>502</html>", None, false),
        ("", None, false),
    ];
    for (body, message, is_own_shape) in cases {
        let told = read_error(Some(500), &HeaderMap::new(), body.as_bytes());
        assert_eq!((told.message.as_deref(), told.shape == Some(Shape::OpenAi)), (message, is_own_shape), "{body}");
    }
}

#[test]
fn u39_waits_are_read_clamped_or_unknown() {
    const DATE: (&str, &str) = ("date", "Sun, 22 Nov 2026 12:00:00 GMT");
    let cases: &[Waits] = &[
        (&[("retry-after", "3")], Some(3_000)),
        (&[("retry-after", "2.5")], Some(2_500)),
        (&[("retry-after", "0.001")], Some(1_000)),
        (&[("retry-after", "-1")], None),
        (&[("retry-after", "0")], None),
        (&[("retry-after", "soon")], None),
        (&[("retry-after", "1000000000000")], Some(3_600_000)),
        (&[("retry-after", "99999999999999999999999")], Some(3_600_000)),
        (&[("retry-after-ms", "2350"), ("retry-after", "3")], Some(2_350)),
        (&[("retry-after-ms", "-1"), ("retry-after", "3")], Some(3_000)),
        (&[DATE, ("retry-after", "Sun, 22 Nov 2026 12:00:17 GMT")], Some(17_000)),
        (&[DATE, ("retry-after", "Sun, 22 Nov 2026 11:00:00 GMT")], None),
        (&[("retry-after", "Sun, 22 Nov 2026 12:00:17 GMT")], None),
        (&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1m2.5s")], Some(62_500)),
        (&[("x-ratelimit-remaining-tokens", "7"), ("x-ratelimit-reset-tokens", "6m0s")], None),
        (&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "-1")], None),
        (&[DATE, ("anthropic-ratelimit-tokens-remaining", "0"), ("anthropic-ratelimit-tokens-reset", "2026-11-22T12:00:09Z")], Some(9_000)),
    ];
    for (pairs, wait) in cases {
        let told = read_error(Some(429), &headers(pairs), b"");
        assert_eq!(ms(&told), *wait, "{pairs:?}");
    }
}

#[test]
fn waits_are_read_from_bodies() {
    let daily = r#"{"error":{"details":[{"violations":[{"quotaId":"RequestsPerDayPerModel"}]},{"retryDelay":"17s"}]}}"#;
    let aggregator = r#"{"error":{"message":"m","code":429,"metadata":{"headers":{"X-RateLimit-Reset":"1795348830000"}}}}"#;
    let cases = [
        (daily, 3_600_000),
        (aggregator, 30_000),
        (r#"{"error":{"message":"Please try again in 20ms."}}"#, 1_000),
        (r#"{"error":{"message":"try again in 1m2.5s. Thanks"}}"#, 62_500),
        (r#"{"error":{"message":"Please retry after 8 seconds."}}"#, 8_000),
    ];
    for (body, ms) in cases {
        let told = read_error(Some(429), &headers(&[("date", "Sun, 22 Nov 2026 12:00:00 GMT")]), body.as_bytes());
        assert_eq!(told.retry_after, Some(Duration::from_millis(ms)), "{body}");
    }
}

#[test]
fn own_errors_have_the_shape_of_the_client_s_format() {
    let words =
        ErrorWords { status: 404, message: "no \"such\" model", kind: "invalid_request_error", param: None, code: "model_not_found" };
    let openai = r#"{"error":{"message":"no \"such\" model","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#;
    assert_eq!(words.body(Shape::OpenAi, Some("id")), openai);
    assert_eq!(words.event(Shape::OpenAi, None), format!("data: {openai}\n\n"));
    let anthropic = r#"{"type":"error","error":{"type":"not_found_error","message":"no \"such\" model"}}"#;
    assert_eq!(words.event(Shape::Anthropic, None), format!("event: error\ndata: {anthropic}\n\n"));
    assert!(words.body(Shape::Anthropic, Some("id")).ends_with(b",\"request_id\":\"id\"}"));
}

#[test]
fn anthropic_s_clients_read_its_own_words_and_numbers() {
    let cases = [
        (400, "invalid_json", 400, "invalid_request_error"),
        (401, "invalid_api_key", 401, "authentication_error"),
        (403, "target_forbidden", 403, "permission_error"),
        (404, "model_not_found", 404, "not_found_error"),
        (413, "request_too_large", 413, "request_too_large"),
        (415, "unsupported_encoding", 415, "invalid_request_error"),
        (429, "rate_limit_exceeded", 429, "rate_limit_error"),
        (429, "budget_exceeded", 402, "billing_error"),
        (500, "internal", 500, "api_error"),
        (502, "upstream_auth", 502, "api_error"),
        (503, "server_is_overloaded", 529, "overloaded_error"),
        (503, "draining", 503, "api_error"),
        (504, "upstream_timeout", 504, "timeout_error"),
    ];
    for (status, code, told, kind) in cases {
        let words = ErrorWords { status, message: "m", kind: "t", param: None, code };
        let body: Value = serde_json::from_slice(&words.body(Shape::Anthropic, None)).unwrap();
        assert_eq!((words.status(Shape::Anthropic), body["error"]["type"].as_str()), (told, Some(kind)), "{code}");
        assert_eq!(words.status(Shape::OpenAi), status);
    }
}
