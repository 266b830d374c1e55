r"""The 68 features of a mask, as S table S1 names them, and what PyRadiomics and IBSI call each.

Notation: X, grey values of the N pixels of a mask; h(i), share of pixels at grey level i; p(i, j),
share of neighbouring pairs at levels i and j, with mean μ, p₊(k) of their sum and p₋(k) of their
difference; d(i, j), share of pixels at level i whose neighbourhood, itself included, has j pixels
at level i; n(i), share of the pixels with neighbours that are at level i, and s(i), their summed
difference to the neighbours' mean; G, highest level, G′, number of levels, A, area of a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ssinfnet.patients.phenotypes import ibsi
from ssinfnet.study.config import DEFAULT_TEXTURE, TextureConfig

__all__ = [
    "AREA",
    "CLASSES",
    "FAMILIES",
    "FEATURES",
    "MORE_FAMILIES",
    "TWINS",
    "Feature",
    "columns",
    "family_of",
    "features_of",
    "panel_names",
    "table_s1",
]

CLASSES = ("lesion", "ggo", "consolidation")
FAMILIES = {
    "firstorder": "First order",
    "glcm": "Grey-level co-occurrence matrix (GLCM)",
    "gldm": "Grey-level dependence matrix (GLDM)",
    "ngtdm": "Neighbouring grey-tone difference matrix (NGTDM)",
}
MORE_FAMILIES = {  # of `TextureConfig.families`, beside those of S table S1
    "glrlm": "Grey-level run length matrix (GLRLM)",
    "glszm": "Grey-level size zone matrix (GLSZM)",
    "shape": "Shape",
}
AREA = ("firstorder", "Area")  # no feature of PyRadiomics: the number of pixels

# Deprecated in PyRadiomics, which no longer computes them, because they equal another feature.
TWINS = {
    ("glcm", "Dissimilarity"): ("glcm", "DifferenceAverage"),
    ("glcm", "Homogeneity1"): ("glcm", "Id"),
    ("glcm", "Homogeneity2"): ("glcm", "Idm"),
    ("glcm", "SumVariance"): ("glcm", "ClusterTendency"),
    ("gldm", "GrayLevelNonUniformityNormalized"): ("firstorder", "Uniformity"),
}


@dataclass(frozen=True)
class Feature:
    """One of the 68, or of those that a study measures besides."""

    family: str  # key of FAMILIES or MORE_FAMILIES, PyRadiomics' own
    name: str  # PyRadiomics' own, also where it is deprecated there
    label: str  # as in S table S1; of other families IBSI's
    description: str = ""
    formula: str = ""  # LaTeX, in the module's notation
    filter: str = ""  # of `TextureConfig.filters`; empty: the image as it is

    @property
    def key(self) -> tuple[str, str]:
        """Family and name."""
        return self.family, self.name

    @property
    def column(self) -> str:
        """The end of a column's name: filter, family and name in lower case."""
        return f"{self.filter}_{self.family}_{self.name}".lower().lstrip("_")


def _family(family: str, *rows: tuple[str, str, str, str]) -> tuple[Feature, ...]:
    return tuple(Feature(family, *row) for row in rows)


FEATURES: tuple[Feature, ...] = (
    *_family(
        "firstorder",
        ("Area", "Area", "Pixels of the mask.", r"N"),
        ("Energy", "Energy", "Size of the grey values, and of the mask.", r"\sum X^2"),
        ("TotalEnergy", "Total Energy", "Energy times the area of a pixel.", r"A \sum X^2"),
        ("Entropy", "Entropy", "Shannon entropy of the grey levels, in bits.",
         r"-\sum_i h(i) \log_2 h(i)"),
        ("Minimum", "Minimum", "Lowest grey value.", r"\min X"),
        ("10Percentile", "10th percentile", "A tenth of the pixels is darker.", r"P_{10}"),
        ("90Percentile", "90th percentile", "A tenth of the pixels is brighter.", r"P_{90}"),
        ("Maximum", "Maximum", "Highest grey value.", r"\max X"),
        ("Mean", "Mean", "Mean grey value.", r"\bar X = \frac{1}{N} \sum X"),
        ("Median", "Median", "Middle grey value.", r"P_{50}"),
        ("InterquartileRange", "Interquartile Range", "Width of the middle half of the values.",
         r"P_{75} - P_{25}"),
        ("Range", "Range", "Width of all the values.", r"\max X - \min X"),
        ("MeanAbsoluteDeviation", "Mean Absolute Deviation (MAD)",
         "Mean distance of a pixel from the mean.", r"\frac{1}{N} \sum |X - \bar X|"),
        ("RobustMeanAbsoluteDeviation", "Robust Mean Absolute Deviation (RMAD)",
         "The same among pixels from the 10th to the 90th percentile.",
         r"\frac{1}{N_{10-90}} \sum |X_{10-90} - \bar X_{10-90}|"),
        ("RootMeanSquared", "Root Mean Squared (RMS)", "Root of the mean square of the values.",
         r"\sqrt{\frac{1}{N} \sum X^2}"),
        ("StandardDeviation", "Standard Deviation", "Root of the variance.",
         r"\sqrt{\frac{1}{N} \sum (X - \bar X)^2}"),
        ("Skewness", "Skewness", "Longer tail to the bright side, or (negative) to the dark.",
         r"\frac{\frac{1}{N} \sum (X - \bar X)^3}{(\frac{1}{N} \sum (X - \bar X)^2)^{3/2}}"),
        ("Kurtosis", "Kurtosis", "Weight of the tails, not excess: 3 for a normal distribution.",
         r"\frac{\frac{1}{N} \sum (X - \bar X)^4}{(\frac{1}{N} \sum (X - \bar X)^2)^2}"),
        ("Variance", "Variance", "Mean square distance from the mean.",
         r"\frac{1}{N} \sum (X - \bar X)^2"),
        ("Uniformity", "Uniformity", "Chance that two pixels have the same level.",
         r"\sum_i h(i)^2"),
    ),
    *_family(
        "glcm",
        ("Autocorrelation", "Autocorrelation", "Size of neighbouring levels together.",
         r"\sum_{i,j} p(i,j)\, i j"),
        ("JointAverage", "Joint Average", "Mean level of pixels that have a neighbour.",
         r"\mu = \sum_{i,j} p(i,j)\, i"),
        ("ClusterProminence", "Cluster Prominence", "Weight of pairs far from the mean.",
         r"\sum_{i,j} (i + j - 2\mu)^4 p(i,j)"),
        ("ClusterShade", "Cluster Shade", "Skewness of the pairs' levels.",
         r"\sum_{i,j} (i + j - 2\mu)^3 p(i,j)"),
        ("ClusterTendency", "Cluster Tendency", "Pairs of alike levels, far from the mean.",
         r"\sum_{i,j} (i + j - 2\mu)^2 p(i,j)"),
        ("Contrast", "Contrast", "Mean square step from a pixel to its neighbour.",
         r"\sum_{i,j} (i - j)^2 p(i,j)"),
        ("Correlation", "Correlation", "Linear correlation of neighbouring levels.",
         r"\frac{\sum_{i,j} p(i,j)\, i j - \mu^2}{\sigma^2}"),
        ("DifferenceAverage", "Difference Average", "Mean step from a pixel to its neighbour.",
         r"\sum_k k\, p_-(k)"),
        ("DifferenceEntropy", "Difference Entropy", "Entropy of neighbours' differences, in bits.",
         r"-\sum_k p_-(k) \log_2 p_-(k)"),
        ("DifferenceVariance", "Difference Variance", "Variance of the steps.",
         r"\sum_k (k - \sum_l l\, p_-(l))^2 p_-(k)"),
        ("Dissimilarity", "Dissimilarity", "The same as Difference Average.",
         r"\sum_{i,j} |i - j|\, p(i,j)"),
        ("JointEnergy", "Joint Energy", "Chance that two pairs are alike.", r"\sum_{i,j} p(i,j)^2"),
        ("JointEntropy", "Joint Entropy", "Entropy of pairs of neighbouring levels, in bits.",
         r"-\sum_{i,j} p(i,j) \log_2 p(i,j)"),
        ("Homogeneity1", "Homogeneity 1", "The same as Inverse Difference.",
         r"\sum_{i,j} \frac{p(i,j)}{1 + |i - j|}"),
        ("Homogeneity2", "Homogeneity 2", "The same as Inverse Difference Moment.",
         r"\sum_{i,j} \frac{p(i,j)}{1 + |i - j|^2}"),
        ("Imc1", "Informational Measure of Correlation 1 (IMC1)",
         "What a level tells of its neighbour's, negative, as a share of its entropy.",
         r"\frac{H(i,j) + \sum_{i,j} p(i,j) \log_2 (p(i)\, p(j))}{H(i)}"),
        ("Imc2", "Informational Measure of Correlation 2 (IMC2)",
         "What a level tells of its neighbour's, between 0 and 1.",
         r"\sqrt{1 - e^{-2 (2 H(i) - H(i,j))}}"),
        ("Idm", "Inverse Difference Moment (IDM)", "Alike neighbours; square steps count against.",
         r"\sum_k \frac{p_-(k)}{1 + k^2}"),
        ("MCC", "Maximal Correlation Coefficient (MCC)",
         "Largest correlation that any scores of the levels can have between neighbours.",
         r"\sqrt{\lambda_2(Q)},\; Q(i,j) = \sum_k \frac{p(i,k)\, p(j,k)}{p(i)\, p(k)}"),
        ("Idmn", "Inverse Difference Moment Normalized (IDMN)",
         "The same, steps as a share of the highest level.", r"\sum_k \frac{p_-(k)}{1 + k^2/G^2}"),
        ("Id", "Inverse Difference (ID)", "Alike neighbours; steps count against.",
         r"\sum_k \frac{p_-(k)}{1 + k}"),
        ("Idn", "Inverse Difference Normalized (IDN)",
         "The same, steps as a share of the highest level.", r"\sum_k \frac{p_-(k)}{1 + k/G}"),
        ("InverseVariance", "Inverse Variance", "Small steps among unlike neighbours.",
         r"\sum_{k \geq 1} \frac{p_-(k)}{k^2}"),
        ("MaximumProbability", "Maximum Probability", "Share of the commonest pair.",
         r"\max p(i,j)"),
        ("SumAverage", "Sum Average", "Mean sum of neighbouring levels: twice Joint Average.",
         r"\sum_k k\, p_+(k)"),
        ("SumVariance", "Sum Variance", "The same as Cluster Tendency.",
         r"\sum_k (k - \sum_l l\, p_+(l))^2 p_+(k)"),
        ("SumEntropy", "Sum Entropy", "Entropy of sums of neighbouring levels, in bits.",
         r"-\sum_k p_+(k) \log_2 p_+(k)"),
        ("SumSquares", "Sum of Squares", "Variance of the level of pixels that have a neighbour.",
         r"\sum_{i,j} (i - \mu)^2 p(i,j)"),
    ),
    *_family(
        "gldm",
        ("SmallDependenceEmphasis", "Small Dependence Emphasis", "Pixels unlike their neighbours.",
         r"\sum_{i,j} \frac{d(i,j)}{j^2}"),
        ("LargeDependenceEmphasis", "Large Dependence Emphasis", "Pixels like their neighbours.",
         r"\sum_{i,j} d(i,j)\, j^2"),
        ("GrayLevelNonUniformity", "Gray Level (GL) Non-Uniformity",
         "Pixels gathered at few levels.", r"N \sum_i (\sum_j d(i,j))^2"),
        ("GrayLevelNonUniformityNormalized", "Gray Level (GL) Non-Uniformity Normalized",
         "The same as Uniformity.", r"\sum_i (\sum_j d(i,j))^2"),
        ("DependenceNonUniformity", "Dependence Non-Uniformity",
         "Pixels gathered at few numbers of alike neighbours.", r"N \sum_j (\sum_i d(i,j))^2"),
        ("DependenceNonUniformityNormalized", "Dependence Non-Uniformity Normalized",
         "The same, whatever the size of the mask.", r"\sum_j (\sum_i d(i,j))^2"),
        ("GrayLevelVariance", "Gray Level (GL) Variance", "Variance of the level.",
         r"\sum_{i,j} d(i,j) (i - \mu_i)^2"),
        ("DependenceVariance", "Dependence Variance", "Variance of the number of alike neighbours.",
         r"\sum_{i,j} d(i,j) (j - \mu_j)^2"),
        ("DependenceEntropy", "Dependence Entropy",
         "Entropy of level and number of alike neighbours together, in bits.",
         r"-\sum_{i,j} d(i,j) \log_2 d(i,j)"),
        ("LowGrayLevelEmphasis", "Low Gray Level (LGL) Emphasis", "Dark pixels.",
         r"\sum_{i,j} \frac{d(i,j)}{i^2}"),
        ("HighGrayLevelEmphasis", "High Gray Level (HGL) Emphasis", "Bright pixels.",
         r"\sum_{i,j} d(i,j)\, i^2"),
        ("SmallDependenceLowGrayLevelEmphasis", "Small Dependence Low Gray Level (SDLGL) Emphasis",
         "Dark pixels unlike their neighbours.", r"\sum_{i,j} \frac{d(i,j)}{i^2 j^2}"),
        ("SmallDependenceHighGrayLevelEmphasis",
         "Small Dependence High Gray Level (SDHGL) Emphasis",
         "Bright pixels unlike their neighbours.", r"\sum_{i,j} \frac{d(i,j)\, i^2}{j^2}"),
        ("LargeDependenceLowGrayLevelEmphasis", "Large Dependence Low Gray Level (LDLGL) Emphasis",
         "Dark pixels like their neighbours.", r"\sum_{i,j} \frac{d(i,j)\, j^2}{i^2}"),
        ("LargeDependenceHighGrayLevelEmphasis",
         "Large Dependence High Gray Level (LDHGL) Emphasis",
         "Bright pixels like their neighbours.", r"\sum_{i,j} d(i,j)\, i^2 j^2"),
    ),
    *_family(
        "ngtdm",
        ("Coarseness", "Coarseness", "How slowly the level changes from pixel to pixel.",
         r"\frac{1}{\sum_i n(i)\, s(i)}"),
        ("Contrast", "Contrast", "Far levels, and large differences to the neighbourhood.",
         r"\frac{\sum_{i,j} n(i)\, n(j) (i - j)^2}{G' (G' - 1)} \cdot \frac{\sum_i s(i)}{N}"),
        ("Busyness", "Busyness", "Rapid changes between neighbours.",
         r"\frac{\sum_i n(i)\, s(i)}{\sum_{i,j} |i\, n(i) - j\, n(j)|}"),
        ("Complexity", "Complexity", "Many rapid changes of the level.",
         r"\frac{1}{N} \sum_{i,j} |i - j| \frac{n(i)\, s(i) + n(j)\, s(j)}{n(i) + n(j)}"),
        ("Strength", "Strength", "Slow changes with large steps between levels.",
         r"\frac{\sum_{i,j} (n(i) + n(j)) (i - j)^2}{\sum_i s(i)}"),
    ),
)  # fmt: skip


OUTLINE = (  # PyRadiomics' shape of a slice, of which IBSI has none
    ("Elongation", "Elongation"), ("MajorAxisLength", "Major axis length"),
    ("MaximumDiameter", "Maximum diameter"), ("MeshSurface", "Area (mesh)"),
    ("MinorAxisLength", "Minor axis length"), ("Perimeter", "Perimeter"),
    ("PerimeterSurfaceRatio", "Perimeter to area ratio"), ("PixelSurface", "Area (pixel counting)"),
    ("Sphericity", "Sphericity"),
)  # fmt: skip
DIAMETERS = (  # of volumes, within planes; not IBSI's
    ("Maximum2DDiameterSlice", "Maximum diameter within a slice"),
    ("Maximum2DDiameterColumn", "Maximum diameter within a column"),
    ("Maximum2DDiameterRow", "Maximum diameter within a row"),
)


def _more(family: str, dimensions: int) -> tuple[Feature, ...]:
    """Return the features of one of MORE_FAMILIES."""
    if (family, dimensions) == ("shape", 2):
        return tuple(Feature(family, *row) for row in OUTLINE)
    features = [(name, code.name) for (of, name), code in ibsi.CODES.items() if of == family]
    besides = DIAMETERS if family == "shape" else ()
    return tuple(Feature(family, *row) for row in (*features, *besides))


def features_of(texture: TextureConfig) -> tuple[Feature, ...]:
    """Return what a configuration measures of each mask, in the order of the table's columns.

    The 68 come first, then other families, then the same of each filtered image but for area and
    shape.
    """
    more = tuple(f for family in texture.families for f in _more(family, texture.dimensions))
    filtered = [f for f in (*FEATURES, *more) if f.key != AREA and f.family != "shape"]
    of_filters = (replace(f, filter=name) for name in texture.filters for f in filtered)
    return (*FEATURES, *more, *of_filters)


def family_of(feature: Feature) -> str:
    """Return the written family of a feature, and its filter."""
    family = (FAMILIES | MORE_FAMILIES)[feature.family]
    return f"{family}, {feature.filter}" if feature.filter else family


def columns(
    classes: Sequence[str] = CLASSES, texture: TextureConfig = DEFAULT_TEXTURE
) -> list[str]:
    """Return the names of the phenotypes of a table: ``ggo_glcm_contrast`` and the like.

    Examples
    --------
    >>> len(columns()), columns()[0]
    (204, 'lesion_firstorder_area')
    """
    return [f"{name}_{feature.column}" for name in classes for feature in features_of(texture)]


def panel_names(name: str) -> dict[str, dict[str, str]]:
    """Return family → column → written name of the phenotypes of one class."""
    named: dict[str, dict[str, str]] = {}
    for feature in FEATURES:
        of_family = named.setdefault(FAMILIES[feature.family], {})
        of_family[f"{name}_{feature.column}"] = feature.label
    return named


def table_s1() -> pd.DataFrame:
    """Return S table S1: family, feature, description, formula, name in PyRadiomics and in IBSI."""
    return pd.DataFrame(
        {
            "family": FAMILIES[feature.family],
            "feature": feature.label,
            "description": feature.description,
            "formula": f"${feature.formula}$",
            "pyradiomics": _in_pyradiomics(feature),
            "ibsi": ibsi.name_and_code(feature.key),
        }
        for feature in FEATURES
    )


def _in_pyradiomics(feature: Feature) -> str:
    if feature.key == AREA:
        return "number of pixels"
    if twin := TWINS.get(feature.key):
        return f"{feature.family}.{feature.name}, deprecated: {'.'.join(twin)}"
    return f"{feature.family}.{feature.name}"
