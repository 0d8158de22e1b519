//! Forms (`multipart/form-data`), of which only the model is read.

use std::ops::Range;

use memchr::memmem;

use super::BadCall;
use crate::units::ModelName;

/// What stands between the parts, where the content type is that of a form.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    let is_form = kind.trim().eq_ignore_ascii_case("multipart/form-data");
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    });
    boundary.filter(|boundary| is_form && !boundary.is_empty())
}

/// The model that a form names, and where; nothing where it names none.
pub(super) fn model(body: &[u8], boundary: &str) -> Result<Option<(String, Range<usize>)>, BadCall> {
    let line = format!("--{boundary}");
    let mut places =
        memmem::find_iter(body, &line).filter(|at| *at == 0 || body[..*at].ends_with(b"\r\n")).map(|at| at + line.len()).peekable();
    if places.peek().is_none() {
        let message = "the form does not begin with the boundary that its content type names".into();
        return Err(BadCall { code: "bad_framing", param: None, message });
    }
    let mut found = None;
    while let Some(start) = places.next() {
        let end = places.peek().map_or(body.len(), |next| next - line.len());
        let Some(value) = named_model(body, start..end) else { continue };
        let text = std::str::from_utf8(&body[value.clone()]).unwrap_or_default();
        ModelName::parse(text).map_err(|error| BadCall::parameter("model", error.to_string()))?;
        if found.replace((text.to_owned(), value)).is_some() {
            return Err(BadCall { code: "duplicate_key", param: Some("model".into()), message: "the form has `model` twice".into() });
        }
    }
    Ok(found)
}

/// The value of a part, where the part is called `model`.
fn named_model(body: &[u8], part: Range<usize>) -> Option<Range<usize>> {
    let text = &body[part.clone()];
    let head = memmem::find(text, b"\r\n\r\n")?;
    let is_model = std::str::from_utf8(&text[..head]).ok()?.split("\r\n").any(|line| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        let mut parameters = value.split(';').map(str::trim);
        name.trim().eq_ignore_ascii_case("content-disposition")
            && parameters.any(|parameter| matches!(parameter, "name=model" | "name=\"model\""))
    });
    let end = text.len().checked_sub(2).filter(|end| *end >= head + 4 && text[*end..] == *b"\r\n")?;
    is_model.then(|| part.start + head + 4..part.start + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nname=\"model\"\r\n\r\n--bb x\r\n--b\r\n\
        content-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n";

    #[test]
    fn the_model_of_a_form_is_found() {
        let (name, place) = model(FORM.as_bytes(), "b").unwrap().unwrap();
        assert_eq!((name.as_str(), &FORM[place]), ("whisper-1", "whisper-1"));
        assert_eq!(model(b"--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b--", "b"), Ok(None));
        let code = |body: &str| model(body.as_bytes(), "b").unwrap_err().code;
        assert_eq!(code("{}"), "bad_framing");
        assert_eq!(code(&FORM.replace("whisper-1", "a b")), "invalid_parameter");
        assert_eq!(
            code(&FORM.replace("name=\"file\"; filename=\"a\"\r\n\r\nname=\"model\"\r\n\r\n--bb x", "name=model\r\n\r\nx")),
            "duplicate_key"
        );
    }

    #[test]
    fn a_boundary_is_read_as_it_may_be_written() {
        for (kind, found) in [
            ("multipart/form-data; boundary=b", Some("b")),
            ("Multipart/Form-Data;charset=utf-8; Boundary=\"b c\"", Some("b c")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("application/json; boundary=b", None),
        ] {
            assert_eq!(boundary(kind), found, "{kind}");
        }
    }
}
