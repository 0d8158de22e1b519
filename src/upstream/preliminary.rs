//! Preliminary heads, of status 1xx: a provider may send a few of them before the head that counts.

/// Most of them before one answer.
pub(super) const MOST: u32 = 8;

/// How the status line of such a head begins. The last digit of the version may be any.
const LINE: &[u8] = b"HTTP/1.1 1";
const VERSION: usize = 7;

/// Counts the preliminary heads in front of one answer, from its bytes as they come in.
#[derive(Debug, Default)]
pub(super) struct Preliminary {
    place: Place,
    seen: u32,
}

#[derive(Debug)]
enum Place {
    /// So far into what may be the status line of one.
    Line(usize),
    /// Within one, behind so many ends of lines.
    Head(u8),
    /// The head that counts has begun.
    Over,
}

impl Default for Place {
    fn default() -> Self {
        Self::Line(0)
    }
}

impl Preliminary {
    /// Takes the next bytes. True as long as there were few enough.
    pub(super) fn see(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            self.place = match self.place {
                Place::Over => return true,
                Place::Line(0) if matches!(byte, b'\r' | b'\n') => Place::Line(0),
                Place::Line(at) if byte != LINE[at] && !(at == VERSION && byte.is_ascii_digit()) => Place::Over,
                Place::Line(at) if at + 1 < LINE.len() => Place::Line(at + 1),
                Place::Line(_) => {
                    self.seen += 1;
                    if self.seen > MOST {
                        return false;
                    }
                    Place::Head(0)
                }
                Place::Head(0) if byte == b'\n' => Place::Head(1),
                Place::Head(_) if byte == b'\n' => Place::Line(0),
                Place::Head(ends) if byte == b'\r' => Place::Head(ends),
                Place::Head(_) => Place::Head(0),
            };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    const HINTS: &str = "HTTP/1.0 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n";
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

    /// Whether there were few enough, in whatever pieces they come.
    fn are_few(text: &str) -> bool {
        let of = |size: usize| {
            let mut preliminary = Preliminary::default();
            text.as_bytes().chunks(size).all(|piece| preliminary.see(piece))
        };
        let answers: Vec<bool> = (1..=text.len()).map(of).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{text:?} is told differently in pieces");
        answers[0]
    }

    #[test]
    fn heads_of_status_1xx_are_counted_up_to_the_one_that_counts() {
        assert!(are_few(ANSWER));
        assert!(are_few(&[&CONTINUE.repeat(4), &HINTS.repeat(4), ANSWER].concat()));
        assert!(!are_few(&[&CONTINUE.repeat(5), &HINTS.repeat(4), ANSWER].concat()));
        assert!(!are_few(&CONTINUE.repeat(9)));
        assert!(!are_few(&"HTTP/1.1 100 Continue\n\n".repeat(9)));
        assert!(!are_few(&["\r\n", CONTINUE].concat().repeat(9)));
    }

    #[test]
    fn an_answer_may_speak_of_them_as_often_as_it_likes() {
        assert!(are_few(&[ANSWER, &CONTINUE.repeat(20)].concat()));
        assert!(are_few(&[HINTS, "HTTP/1.1 200 OK\r\nx-said: HTTP/1.1 100 Continue\r\n\r\n", &CONTINUE.repeat(20)].concat()));
    }
}
