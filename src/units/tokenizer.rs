/// How a model divides text into tokens: what the vocabularies of one house have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokenizer {
    /// Of `gpt-4o` and later; what is taken where nothing is known.
    #[default]
    O200k,
    /// Of `gpt-4` and `gpt-3.5`.
    Cl100k,
    Claude,
    DeepSeek,
    /// Of Gemini and Gemma.
    Gemini,
    /// From Llama 3 on.
    Llama,
    /// Tekken, of Mistral's models since 2024.
    Mistral,
    Qwen,
}

impl Tokenizer {
    pub const ALL: [Self; 8] =
        [Self::O200k, Self::Cl100k, Self::Claude, Self::DeepSeek, Self::Gemini, Self::Llama, Self::Mistral, Self::Qwen];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::O200k => "o200k",
            Self::Cl100k => "cl100k",
            Self::Claude => "claude",
            Self::DeepSeek => "deepseek",
            Self::Gemini => "gemini",
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen => "qwen",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tokenizer| tokenizer.as_str() == word)
    }
}
