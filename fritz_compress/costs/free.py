"""What multiplies nothing at inference, and what cannot be told."""

from keras import layers

from fritz_compress.costs.table import FREE, UNKNOWN, Call, Cost, rule
from fritz_compress.layers import (
    ChannelShuffle,
    CropToMatch,
    DepthToSpace,
    PadToMultiple,
)

_LAYERS = """
    ActivityRegularization AdaptiveMaxPooling1D AdaptiveMaxPooling2D
    AdaptiveMaxPooling3D Add AlphaDropout CategoryEncoding Concatenate
    Cropping1D Cropping2D Cropping3D Discretization Dropout Flatten
    GaussianDropout GaussianNoise
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D HashedCrossing
    Hashing Identity InputLayer Masking MaxNumBoundingBoxes MaxPooling1D
    MaxPooling2D MaxPooling3D Maximum Minimum Permute RepeatVector Reshape
    SpatialDropout1D SpatialDropout2D SpatialDropout3D Subtract UpSampling1D
    UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""
# They change pictures in training alone.
_AUGMENTATIONS = """
    AugMix CutMix Equalization MixUp RandAugment RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop
    RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur
    RandomGrayscale RandomHue RandomInvert RandomPerspective
    RandomPosterization RandomRotation RandomSaturation RandomSharpness
    RandomShear RandomTranslation RandomZoom Solarization
"""
# Sums, comparisons, functions of one number, and what moves numbers.
_OPERATIONS = """
    Abs Absolute AdaptiveMaxPool Add All Amax Amin Any Append Arange Arccos
    Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argsort Array
    ArraySplit BitwiseAnd BitwiseInvert BitwiseNot BitwiseOr BitwiseXor
    BroadcastTo Cast Cbrt Ceil Clip Concatenate ConvertToTensor Copy Cos Cosh
    CountNonzero CropImages Cumsum DepthToSpace Diag Diagonal Diff Digitize
    Dstack EmptyLike Equal Erf Erfc Erfinv Exp Exp2 ExpandDims Expm1
    ExtractPatches Flip Floor Fmax Fmin Full FullLike GetItem Greater
    GreaterEqual HardShrink HardTanh Hsplit Hstack InTopK Isclose Isfinite
    Isinf Isnan Less LessEqual Linspace Log Log10 Log1p Log2 LogSigmoid
    LogSoftmax Logaddexp LogicalAnd LogicalNot LogicalOr LogicalXor Logsumexp
    Max MaxPool Maximum Median Min Minimum Moveaxis Negative NotEqual OneHot
    OnesLike Pad PadImages Ravel Rearrange Relu Relu6 Repeat Reshape Roll
    Rot90 Round Rsqrt Scatter ScatterUpdate SearchSorted SegmentMax SegmentSum
    Select Sigmoid Sign Sin Sinh Slice SliceUpdate SoftShrink Softplus Sort
    SpaceToDepth Split Sqrt Squeeze Stack StopGradient Subtract Sum Swapaxes
    Take TakeAlongAxis Tan Tanh TanhShrink Threshold Tile TopK Trace Transpose
    Tril Triu Trunc Unstack View Vsplit Vstack Where ZerosLike
"""


@rule(
    *(getattr(layers, name) for name in _LAYERS.split()),
    *(getattr(layers, name) for name in _AUGMENTATIONS.split()),
    ChannelShuffle,
    CropToMatch,
    DepthToSpace,
    PadToMultiple,
    *_OPERATIONS.split(),
)
def free(call: Call) -> Cost:
    return FREE


@rule(layers.Pipeline)
def pipeline(call: Call) -> Cost:
    """Each layer on what the one before it makes."""
    cost, shape = FREE, call.shape
    for layer in call.operation.layers:
        made = layer.compute_output_shape(shape)
        cost, shape = cost + call.inside(layer, shape, made), made
    return cost


@rule(
    layers.AutoContrast,
    layers.ContrastLimitedAdaptiveHistogramEqualization,
    layers.FlaxLayer,
    layers.JaxLayer,
    layers.Lambda,
    layers.MelSpectrogram,
    layers.TFSMLayer,
    layers.TorchModuleWrapper,
    layers.Wrapper,
)
def unknown(call: Call) -> Cost:
    """Depends on the picture, on a library's transforms, or on the user."""
    return UNKNOWN
