"""Encoders of two small layers with random weights, and a tokenizer trained on the spot: written as folders."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORDS = (
    "red",
    "green",
    "blue",
    "the",
    "a",
    "house",
    "car",
    "river",
    "is",
    "was",
    "near",
    "old",
    "new",
    "Paris",
    "Rome",
)


def texts(count: int, seed: int = 0, length: int = 8) -> tuple[list[str], list[int]]:
    """Make sentences, each with one of three colours, and which it is."""
    import numpy as np

    chance = np.random.default_rng(seed)
    others = [word for word in WORDS if word not in WORDS[:3]]
    made, shown = [], []
    for _ in range(count):
        colour = int(chance.integers(3))
        words = [others[at] for at in chance.integers(len(others), size=int(chance.integers(2, length)))]
        words.insert(int(chance.integers(len(words) + 1)), WORDS[colour])
        made.append(" ".join(words))
        shown.append(colour)
    return made, shown


def tokenizer(kind: str = "wordpiece", learned: Sequence[str] = ()) -> Any:
    """Train a tokenizer: ``wordpiece`` as BERT's, ``bytes`` as RoBERTa's."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    corpus = [*learned, *texts(200)[0]]
    if kind == "wordpiece":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
        ends = ("[CLS]", "[SEP]")
    else:
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        made = Tokenizer(models.BPE(unk_token="<unk>"))
        made.pre_tokenizer = pre_tokenizers.ByteLevel()
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
        made.train_from_iterator(corpus, trainer)
        ends = ("<s>", "</s>")
    known = [(end, made.token_to_id(end)) for end in ends]
    made.post_processor = processors.TemplateProcessing(single=f"{ends[0]} $A {ends[1]}", special_tokens=known)
    return made


def write(folder: Path, kind: str = "wordpiece", seed: int = 0, positions: int = 66, **more: Any) -> Path:
    """Write an encoder of 32 dimensions as transformers does, with its ``tokenizer.json``."""
    import torch
    from transformers import AutoModel, BertConfig, RobertaConfig

    made = tokenizer(kind)
    sizes: dict[str, Any] = {
        "vocab_size": made.get_vocab_size(),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": positions,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        **more,
    }
    config = BertConfig(**sizes) if kind == "wordpiece" else RobertaConfig(pad_token_id=1, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AutoModel.from_config(config).save_pretrained(str(folder))  # type: ignore[no-untyped-call]
    made.save(str(folder / "tokenizer.json"))
    return folder


def change_json(path: Path, **values: Any) -> None:
    """Change values of a JSON file."""
    held = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(held | values))
