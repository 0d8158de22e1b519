use super::*;

const MODELS_DEV: &str = r#"{
  "togetherai": { "id": "togetherai", "env": ["TOGETHER_API_KEY"], "models": {
    "moonshotai/Kimi-K2.5": { "tool_call": true, "reasoning": true, "modalities": { "input": ["text", "image"] },
      "cost": { "input": 0.5, "output": 2.8, "cache_read": 0.05 }, "limit": { "context": 262144, "output": 0 } } } },
  "openai": { "models": {
    "gpt-5.5": { "tool_call": true, "structured_output": true,
      "cost": { "input": 5, "output": 30, "cache_read": 0.5, "context_over_200k": { "input": 10, "output": 45 },
        "tiers": [{ "input": 10, "output": 45, "cache_read": 1, "tier": { "type": "context", "size": 272000 } }] },
      "limit": { "context": 1050000, "output": 128000 } },
    "old": { "cost": { "input": 1, "output": 2, "reasoning": 3, "context_over_200k": { "input": 2, "output": 4 } } },
    "free-of-price": { "limit": { "context": 1 } },
    "half": { "cost": { "input": 1 } },
    "below": { "cost": { "input": -1, "output": 1 } },
    "by-day": { "cost": { "input": 1, "output": 1, "tiers": [{ "input": 1, "output": 1, "tier": { "type": "day", "size": 1 } }] } },
    "text": { "cost": "cheap" } } },
  "broken": { "models": 7 }
}"#;

const LITELLM: &str = r#"{
  "sample_spec": { "litellm_provider": "one of them", "input_cost_per_token": 0.0 },
  "gpt-4o": { "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05,
    "cache_read_input_token_cost": 1.25e-06, "max_input_tokens": 128000, "max_output_tokens": 16384, "max_tokens": 16384,
    "supports_function_calling": true, "supports_vision": true, "supports_reasoning": false },
  "gemini/gemini-2.5-pro": { "litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 1.25e-06,
    "input_cost_per_token_above_200k_tokens": 2.5e-06, "output_cost_per_token": 1e-05, "output_cost_per_token_above_200k_tokens": 1.5e-05 },
  "claude-sonnet-4-5": { "litellm_provider": "anthropic", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
    "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06 },
  "dall-e-3": { "litellm_provider": "openai", "mode": "image_generation", "input_cost_per_pixel": 1e-08 },
  "unpriced": { "litellm_provider": "openai", "mode": "chat" },
  "nobody": { "input_cost_per_token": 1e-06 },
  "wrong": { "litellm_provider": "openai", "input_cost_per_token": "much", "output_cost_per_token": 1e-05 },
  "list": []
}"#;

fn shown(list: &PriceList) -> Vec<String> {
    let row = |row: &PriceRow| {
        let tiers: Vec<String> =
            row.prices.tiers.iter().map(|tier| format!(" >{} {}/{}", tier.above, tier.input.per_mtok(), tier.output.per_mtok())).collect();
        format!("{}/{} {}/{}{}", row.provider, row.model, row.prices.input.per_mtok(), row.prices.output.per_mtok(), tiers.concat())
    };
    list.rows.iter().map(row).collect()
}

#[test]
fn models_dev_is_read_and_wrong_rows_cost_only_themselves() {
    let list = read_price_list(MODELS_DEV).unwrap();
    assert_eq!(list.origin, "models.dev");
    assert_eq!(
        shown(&list),
        ["openai/gpt-5.5 $5/$30 >272000 $10/$45", "openai/old $1/$3 >200000 $2/$4", "together/moonshotai/Kimi-K2.5 $0.5/$2.8"]
    );
    let kimi = &list.rows[2];
    assert_eq!(kimi.can.as_deref(), Some(&[Need::Tools, Need::Reasoning, Need::Vision][..]));
    assert_eq!((kimi.context.map(Tokens::count), kimi.max_output), (Some(262_144), None));
    let skipped: Vec<&str> = list.skipped.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        skipped,
        ["broken", "openai/below", "openai/by-day", "openai/free-of-price", "openai/half", "openai/text"],
        "{:?}",
        list.skipped
    );
    assert!(list.skipped.iter().any(|(_, why)| why == "`-1` is no price"), "{:?}", list.skipped);
}

#[test]
fn litellm_is_read_with_its_tiers_in_the_names_of_keys() {
    let list = read_price_list(LITELLM).unwrap();
    assert_eq!(list.origin, "LiteLLM");
    assert_eq!(
        shown(&list),
        ["anthropic/claude-sonnet-4-5 $3/$15", "google/gemini-2.5-pro $1.25/$10 >200000 $2.5/$15", "openai/gpt-4o $2.5/$10"]
    );
    assert_eq!(list.rows[0].prices.cache_write_1h.map(|price| price.per_mtok().plain()).as_deref(), Some("6"));
    assert_eq!(list.rows[2].can.as_deref(), Some(&[Need::Tools, Need::Vision][..]));
    assert_eq!(list.rows[0].can, None);
    let skipped: Vec<&str> = list.skipped.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(skipped, ["dall-e-3", "list", "nobody", "unpriced", "wrong"], "{:?}", list.skipped);
}

#[test]
fn what_is_no_price_list_is_refused_as_a_whole() {
    for text in ["", "[]", "{}", r#"{"a": {"b": 1}}"#, "routes: yaml"] {
        assert!(read_price_list(text).is_err(), "{text}");
    }
}
