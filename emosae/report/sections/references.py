"""The works that a run's results rest on: those of its stages and choices, and its human data."""

from __future__ import annotations

import re
from collections.abc import Mapping

from emosae.report.page import Reference
from emosae.report.source import Run, part
from emosae.report.text import shorten

__all__ = ["references"]

_BY_STAGE = {
    "select": [
        Reference(
            "Benjamini, Y., & Hochberg, Y. (1995). Controlling the false discovery rate: a practical and "
            "powerful approach to multiple testing. Journal of the Royal Statistical Society B, 57, "
            "289-300.",
            "https://doi.org/10.1111/j.2517-6161.1995.tb02031.x",
        ),
    ],
    "geometry": [
        Reference(
            "Kriegeskorte, N., Mur, M., & Bandettini, P. (2008). Representational similarity analysis: "
            "connecting the branches of systems neuroscience. Frontiers in Systems Neuroscience, 2, 4.",
            "https://doi.org/10.3389/neuro.06.004.2008",
        ),
        Reference(
            "Nili, H., Wingfield, C., Walther, A., Su, L., Marslen-Wilson, W., & Kriegeskorte, N. (2014). "
            "A toolbox for representational similarity analysis. PLoS Computational Biology, 10, e1003553.",
            "https://doi.org/10.1371/journal.pcbi.1003553",
        ),
        Reference(
            "Schütt, H. H., Kipnis, A. D., Diedrichsen, J., & Kriegeskorte, N. (2023). Statistical "
            "inference on representational geometries. eLife, 12, e82566.",
            "https://doi.org/10.7554/eLife.82566",
        ),
    ],
    "ratings": [],
    "steer": [
        Reference(
            "Templeton, A., et al. (2024). Scaling monosemanticity: extracting interpretable features from Claude 3 "
            "Sonnet. Transformer Circuits Thread.",
            "https://transformer-circuits.pub/2024/scaling-monosemanticity/",
        ),
        Reference(
            "Wu, Z., Arora, A., Geiger, A., Wang, Z., Huang, J., Jurafsky, D., Manning, C. D., & Potts, C. (2025). "
            "AxBench: steering LLMs? Even simple baselines outperform sparse autoencoders. arXiv:2501.17148.",
            "https://arxiv.org/abs/2501.17148",
        ),
        Reference(
            "Arad, D., Mueller, A., & Belinkov, Y. (2025). SAEs are good for steering - if you select the right "
            "features. arXiv:2505.20063.",
            "https://arxiv.org/abs/2505.20063",
        ),
        Reference(
            "Li, J., Galley, M., Brockett, C., Gao, J., & Dolan, B. (2016). A diversity-promoting objective function "
            "for neural conversation models. Proceedings of NAACL-HLT 2016, 110-119.",
            "https://doi.org/10.18653/v1/N16-1014",
        ),
    ],
}
# what a way of steering rests on, by the methods that a run shows
_BY_METHOD = {
    "diff_mean": Reference(
        "Marks, S., & Tegmark, M. (2023). The geometry of truth: emergent linear structure in large language model "
        "representations of true/false datasets. arXiv:2310.06824.",
        "https://arxiv.org/abs/2310.06824",
    ),
    "passage_features": Reference(
        "Pati, Y. C., Rezaiifar, R., & Krishnaprasad, P. S. (1993). Orthogonal matching pursuit: recursive function "
        "approximation with applications to wavelet decomposition. Conference Record of the 27th Asilomar Conference "
        "on Signals, Systems and Computers, 40-44.",
        "https://doi.org/10.1109/ACSSC.1993.342465",
    ),
}
# what a rating is predicted by, by the setting `ratings.model`
_BY_MODEL = {
    "ridge": Reference(
        "Hoerl, A. E., & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal "
        "problems. Technometrics, 12, 55-67.",
        "https://doi.org/10.1080/00401706.1970.10488634",
    ),
    "pls": Reference(
        "Wold, S., Ruhe, A., Wold, H., & Dunn, W. J. (1984). The collinearity problem in linear regression: the "
        "partial least squares (PLS) approach to generalized inverses. SIAM Journal on Scientific and Statistical "
        "Computing, 5, 735-743.",
        "https://doi.org/10.1137/0905052",
    ),
}
_SITES = Reference(
    "Nichols, T. E., & Holmes, A. P. (2002). Nonparametric permutation tests for functional neuroimaging: a primer "
    "with examples. Human Brain Mapping, 15, 1-25.",
    "https://doi.org/10.1002/hbm.1058",
)
_CEBRA = Reference(
    "Schneider, S., Lee, J. H., & Mathis, M. W. (2023). Learnable latent embeddings for joint behavioural and neural "
    "analysis. Nature, 617, 360-368.",
    "https://doi.org/10.1038/s41586-023-06031-6",
)
_RELIABILITY = Reference(
    "Spearman, C. (1904). The proof and measurement of association between two things. The American Journal of "
    "Psychology, 15, 72-101.",
    "https://doi.org/10.2307/1412159",
)
_SAE = Reference(
    "Huben, R., Cunningham, H., Riggs Smith, L., Ewart, A., & Sharkey, L. (2024). Sparse autoencoders "
    "find highly interpretable features in language models. International Conference on Learning "
    "Representations.",
    "https://arxiv.org/abs/2309.08600",
)
_SAFE_URL = re.compile(r"https?://[^\s<>\"']+")


def references(run: Run) -> list[Reference]:
    """List the works to cite, emosae itself first and the human data last."""
    done = {name for stages in run.stages.values() for name in stages}
    found = [_own(run), _SAE, *(ref for stage in _BY_STAGE if stage in done for ref in _BY_STAGE[stage])]
    if "geometry" in done and len(run.stages) > 1:
        found.append(_SITES)
    geometry = [stages["geometry"] for stages in run.stages.values() if "geometry" in stages]
    if any(stage.table("cebra", "labels").height for stage in geometry):
        found.append(_CEBRA)
    if "ratings" in done:
        found += [
            _BY_MODEL.get(str(part(run.config, "ratings").get("model")), _BY_MODEL["ridge"]),
            _RELIABILITY,
        ]
    steered = [stages["steer"] for stages in run.stages.values() if "steer" in stages]
    shown = {method for stage in steered for method in stage.table("methods", "method")["method"]}
    found += [work for method, work in _BY_METHOD.items() if method in shown]
    return [*found, *_data(run)]


def _own(run: Run) -> Reference:
    version = part(part(run.manifest, "environment"), "packages").get("emosae")
    return Reference(
        f"The emosae developers. emosae{f' {version}' if version else ''}: emotion in language models, "
        "read through sparse autoencoders and held beside human data [computer software]."
    )


def _data(run: Run) -> list[Reference]:
    """Cite the human data and the concept set, as their own entries say."""
    found = []
    for name, entry in part(run.config, "norms").items():
        if not isinstance(entry, Mapping):
            continue
        text = str(entry.get("citation") or entry.get("title") or name).strip()
        doi = str(entry.get("doi") or "")
        url = f"https://doi.org/{doi}" if doi else str(entry.get("url") or "")
        terms = f" Terms: {entry['license']}." if entry.get("license") else ""
        found.append(Reference(shorten(text + terms, 900), url if _SAFE_URL.fullmatch(url) else ""))
    source = part(run.config, "concepts").get("source")
    if source:
        found.append(Reference(f"Concept words: {shorten(source, 900)}"))
    return found
