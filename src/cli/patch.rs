use similar::TextDiff;

/// The way from one text of a file to another, as `patch -p0` and `git apply -p0` take it. An absent text: there is no such file.
/// Empty where both are the same.
pub(super) fn patch(name: &str, old: Option<&str>, new: Option<&str>) -> String {
    let diff = TextDiff::from_lines(old.unwrap_or_default(), new.unwrap_or_default());
    // A name with spaces ends at a tab.
    let name = if name.contains(char::is_whitespace) { format!("{name}\t") } else { name.to_owned() };
    let header = |text: Option<&str>| if text.is_some() { name.clone() } else { "/dev/null".into() };
    diff.unified_diff().context_radius(3).header(&header(old), &header(new)).to_string()
}

#[cfg(test)]
mod tests {
    use super::patch;

    #[test]
    fn patches_name_what_comes_and_goes() {
        assert_eq!(patch("a.yaml", Some("a\nb\n"), Some("a\nb\n")), "");
        assert_eq!(
            patch("a.yaml", Some("a\nb\n"), Some("a\nc")),
            "--- a.yaml\n+++ a.yaml\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n\\ No newline at end of file\n"
        );
        assert_eq!(patch("r/a.yaml", None, Some("a\n")), "--- /dev/null\n+++ r/a.yaml\n@@ -0,0 +1 @@\n+a\n");
        assert_eq!(patch("r a.yaml", Some("a\n"), None), "--- r a.yaml\t\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n");
    }
}
