"""The names of what can be chosen: dissimilarity, comparator, null of the test beyond valence."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Comparator", "Dissimilarity", "ResidualNull"]


class Dissimilarity(StrEnum):
    """How different the feature vectors of two concepts are.

    The names are rsatoolbox's; its `euclidean` is the square of ours divided by the number of features, which
    orders the pairs alike.
    """

    CORRELATION = "correlation"
    COSINE = "cosine"
    EUCLIDEAN = "euclidean"


class Comparator(StrEnum):
    """How alike the dissimilarities of two RDMs are.

    * `rho-a`: Spearman's rho expected under random tie breaking; right where a model predicts ties.
    * `spearman`: Spearman's rho with midranks; favours models that predict ties.
    * `tau-a`: Kendall's tau without a correction for ties; slow for many concepts.
    * `pearson`: product-moment correlation; takes the dissimilarities for interval data.
    """

    RHO_A = "rho-a"
    SPEARMAN = "spearman"
    TAU_A = "tau-a"
    PEARSON = "pearson"


class ResidualNull(StrEnum):
    """How what valence leaves over is assigned to the concepts anew.

    * `permutation`: whole rows of residuals change places. The basis fits some of every space by chance, and
      permuted residuals no longer undo that, so the test is conservative: with 27 concepts it rejects 0 to
      2 % of true null hypotheses at the 5 % level, and finds effects that share 0.8 of a second and a third
      dimension in 35 (sparse features) to 80 % of simulated studies.
    * `rotation`: residuals are turned at random inside the space that valence cannot reach, which keeps their
      size and their independence of valence: 0 to 5 %, and 75 to 95 % of the same effects. Exact for normal
      residuals, where the permutation needs them only exchangeable.

    Neither holds where what is left over is several times larger for some concepts than for others (12 to
    15 % false alarms with a log-normal spread of 0.6).
    """

    PERMUTATION = "permutation"
    ROTATION = "rotation"
