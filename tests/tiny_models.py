"""Causal language models small enough for a test, made by code and saved as a Hugging Face folder."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import gguf
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from lmtx.config import HuggingFaceConfig

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPELLINGS = ("yes", " yes", "Yes", " Yes", "YES", "no", " no", "No", " No", "NO")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_TEXT = (
    "Read the document between the marks and decide whether the label is relevant. "
    "Does the tag describe it? Answer with yes or no. Yes. No. YES NO user assistant system\n"
)


def tiny_tokenizer(
    chat: bool = True, vocabulary: int = 400, texts: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: any text, no unknown tokens, one token for each of `SPELLINGS`.

    `texts` are learned too; `vocabulary` limits the number of tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    spelled = [word + "\n" for word in SPELLINGS] * (50 + len(texts))
    tokenizer.train_from_iterator([_TEXT] * 4 + spelled + list(texts), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token=SPECIAL[0])
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_config(architecture: str, vocabulary: int, **changes) -> PreTrainedConfig:
    """A two-layer configuration of `architecture`, a `model_type` of transformers.

    Weights are drawn far wider than for training, so that the answer hangs on every token and a
    wrong mask or position shows.
    """
    values = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": 0.3,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return AutoConfig.for_model(architecture, **(values | changes))


def save_random_model(
    folder: str | Path,
    architecture: str = "llama",
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
    seed: int = 0,
    **changes,
) -> Path:
    """Save a random model of `architecture` and its tokenizer; `changes` go to the configuration."""
    tokenizer = tokenizer or tiny_tokenizer()
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(
        tiny_config(architecture, **({"vocabulary": len(tokenizer)} | changes))
    )
    return _save(model, tokenizer, folder)


def save_answering_model(folder: str | Path, *, seed: int = 0) -> Path:
    """Save a random Llama that answers a chat with yes or no, about evenly, and then ends its message.

    Channel 0 of the residual stream says whether the last token was an answer: the embedding
    sets it, no layer writes to it, and by it the head picks an answer or the end of the message.
    """
    tokenizer = tiny_tokenizer()
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(tiny_config("llama", len(tokenizer))).eval()
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    with torch.no_grad():
        embedding[:, 0] = -4.0
        embedding[[yes, no], 0] = 4.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0
            layer.mlp.down_proj.weight[0] = 0
        states = torch.cat([_last_states(model, tokenizer, prompt) for prompt in _prompts(seed)])
        # What differs most between prompts decides; channel 0 carries the offset that makes it even.
        direction = torch.linalg.svd(states - states.mean(0)).Vh[0]
        direction = direction * 2 / (states @ direction).std()
        direction[0] -= (states @ direction).median() / states[:, 0].mean()
        head.zero_()
        head[yes], head[no] = direction, -direction
        head[[yes, no], 0] -= 20.0
        head[tokenizer.eos_token_id, 0] = 20.0
    return _save(model, tokenizer, folder)


def local_config(model: str | Path, **changes) -> HuggingFaceConfig:
    """The section of a teacher in this process, in full precision on the CPU."""
    values = {
        **{"kind": "huggingface", "name": "tiny", "model": str(model), "wording": "tag", "question": None},
        **{"document_tokens": 60, "precision": "fp32", "device": "cpu", "batch_tokens": 2048},
    }
    return HuggingFaceConfig(**(values | changes))


def save_gguf(folder: str | Path, file: str | Path) -> Path:
    """Write the Qwen2 saved in `folder`, and its tokenizer, as one GGUF file of full precision."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    config, state = model.config, json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(state["vocab"], key=state["vocab"].get)
    writer = gguf.GGUFWriter(file, "qwen2")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    kinds = gguf.TokenType
    writer.add_token_types([kinds.CONTROL if t in SPECIAL else kinds.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(merge) for merge in state["merges"]])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers)
    for name, weights in model.state_dict().items():
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), weights.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(file)


def _prompts(seed: int) -> list[str]:
    """Prompts as different in length and wording as a test's may be."""
    rng = random.Random(seed)
    words = [*_TEXT.split(), "tree", "graph", "sort", "matrix", "index", "file", "plot", "value", "mean"]
    return [" ".join(rng.choices(words, k=rng.randint(5, 120))) for _ in range(24)]


def _last_states(model, tokenizer: PreTrainedTokenizerFast, text: str) -> torch.Tensor:
    """The final hidden state, float32 (1, d), from which a chat's answer is read."""
    messages = [{"role": "user", "content": text}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
    return model.model(**inputs).last_hidden_state[:, -1]


def _save(model, tokenizer: PreTrainedTokenizerFast, folder: str | Path) -> Path:
    folder = Path(folder)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
