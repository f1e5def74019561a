"""Every kind of layer of Keras, with what it multiplies, counted by hand.

Pictures are 8x8 positions with 6 channels, sequences 8x6. Each case: the
layers, the shapes of their inputs without the batch, multiply-accumulates, and
all other products and quotients.
"""

import keras
from keras import layers

SEQUENCE, PICTURE, VOLUME = (8, 6), (8, 8, 6), (8, 8, 8, 6)
QUERY, VALUE, NARROW = (5, 6), (7, 6), (7, 4)


def _inner():
    inputs = keras.Input((6,))
    return keras.Model(inputs, layers.Dense(3)(layers.Dense(4)(inputs)))


COUNTED = {
    "AdaptiveAveragePooling1D": (
        lambda: layers.AdaptiveAveragePooling1D(4),
        [SEQUENCE],
        0,
        4 * 6,
    ),
    "AdaptiveAveragePooling2D": (
        lambda: layers.AdaptiveAveragePooling2D(4),
        [PICTURE],
        0,
        4 * 4 * 6,
    ),
    "AdaptiveAveragePooling3D": (
        lambda: layers.AdaptiveAveragePooling3D(4),
        [VOLUME],
        0,
        4 * 4 * 4 * 6,
    ),
    # A product with the scale and one with the value for every channel.
    "AdditiveAttention": (
        layers.AdditiveAttention,
        [QUERY, VALUE],
        5 * 7 * 6 + 5 * 7 * 6,
        5 * 7,
    ),
    "AdditiveAttention, no scale": (
        lambda: layers.AdditiveAttention(use_scale=False),
        [QUERY, VALUE],
        5 * 7 * 6,
        5 * 7,
    ),
    "Activation, silu": (
        lambda: layers.Activation("silu"),
        [SEQUENCE],
        0,
        48,
    ),
    "Activation, gelu": (
        lambda: layers.Activation("gelu"),
        [SEQUENCE],
        0,
        3 * 48,
    ),
    "Activation, tanh": (lambda: layers.Activation("tanh"), [SEQUENCE], 0, 0),
    "Activation, a layer": (
        lambda: layers.Activation(layers.LeakyReLU()),
        [SEQUENCE],
        0,
        48,
    ),
    "Attention": (
        layers.Attention,
        [QUERY, VALUE],
        5 * 7 * 6 + 5 * 7 * 6,
        5 * 7,
    ),
    "Attention, with keys": (
        layers.Attention,
        [QUERY, NARROW, VALUE],
        5 * 7 * 6 + 5 * 7 * 4,
        5 * 7,
    ),
    "Attention, scaled": (
        lambda: layers.Attention(use_scale=True),
        [QUERY, VALUE],
        2 * 5 * 7 * 6,
        5 * 7 + 5 * 7,
    ),
    # Each sum of tanh times one weight; inside, the scale per channel.
    "Attention, concat": (
        lambda: layers.Attention(score_mode="concat", use_scale=True),
        [QUERY, VALUE],
        5 * 7 * 6,
        5 * 7 * 6 + 5 * 7 + 5 * 7,
    ),
    "Average": (layers.Average, [SEQUENCE] * 3, 0, 48),
    "AveragePooling1D": (
        lambda: layers.AveragePooling1D(2),
        [SEQUENCE],
        0,
        4 * 6,
    ),
    "AveragePooling2D": (
        lambda: layers.AveragePooling2D(3, 2, "same"),
        [PICTURE],
        0,
        4 * 4 * 6,
    ),
    "AveragePooling3D": (
        lambda: layers.AveragePooling3D(2),
        [VOLUME],
        0,
        4 * 4 * 4 * 6,
    ),
    "BatchNormalization": (layers.BatchNormalization, [PICTURE], 0, 384),
    # Twice an LSTM of 4 units on 8 steps.
    "Bidirectional": (
        lambda: layers.Bidirectional(layers.LSTM(4)),
        [SEQUENCE],
        2 * 8 * 4 * 4 * (6 + 4),
        2 * 8 * 3 * 4,
    ),
    "Bidirectional, averaged": (
        lambda: layers.Bidirectional(
            layers.GRU(4, return_sequences=True), "ave"
        ),
        [SEQUENCE],
        2 * 8 * 3 * 4 * (6 + 4),
        2 * 8 * 3 * 4 + 8 * 4,
    ),
    "CenterCrop": (lambda: layers.CenterCrop(4, 5), [PICTURE], 0, 0),
    "CenterCrop, enlarged": (
        lambda: layers.CenterCrop(9, 9),
        [PICTURE],
        0,
        4 * 9 * 9 * 6,
    ),
    "Conv1D": (lambda: layers.Conv1D(4, 3), [SEQUENCE], 6 * 4 * 3 * 6, 0),
    "Conv2D": (
        lambda: layers.Conv2D(4, (3, 5)),
        [PICTURE],
        6 * 4 * 4 * 15 * 6,
        0,
    ),
    "Conv2D, with activation": (
        lambda: layers.Conv2D(4, 3, 2, "same", activation="hard_silu"),
        [PICTURE],
        4 * 4 * 4 * 9 * 6,
        2 * 4 * 4 * 4,
    ),
    "Conv2D, grouped": (
        lambda: layers.Conv2D(4, 3, groups=2),
        [PICTURE],
        36 * 4 * 9 * 3,
        0,
    ),
    "Conv3D": (
        lambda: layers.Conv3D(2, 3),
        [VOLUME],
        6**3 * 2 * 27 * 6,
        0,
    ),
    # Every number of the input times a whole kernel of each filter.
    "Conv1DTranspose": (
        lambda: layers.Conv1DTranspose(4, 3, 2),
        [SEQUENCE],
        8 * 6 * 3 * 4,
        0,
    ),
    "Conv2DTranspose": (
        lambda: layers.Conv2DTranspose(4, 3, 2, "same"),
        [PICTURE],
        64 * 6 * 9 * 4,
        0,
    ),
    "Conv3DTranspose": (
        lambda: layers.Conv3DTranspose(4, 2, 2),
        [VOLUME],
        512 * 6 * 8 * 4,
        0,
    ),
    # States of 7 positions by 3 filters; 4 gates; 2 wide kernels on 6 and 3.
    "ConvLSTM1D": (
        lambda: layers.ConvLSTM1D(3, 2),
        [(5, 8, 6)],
        5 * 4 * 7 * 3 * (2 * 6 + 2 * 3),
        5 * 3 * 7 * 3,
    ),
    "ConvLSTM2D": (
        lambda: layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True),
        [(5, 8, 8, 6)],
        5 * 4 * 64 * 3 * (9 * 6 + 9 * 3),
        5 * 3 * 64 * 3,
    ),
    "ConvLSTM3D": (
        lambda: layers.ConvLSTM3D(2, 2),
        [(2, 4, 4, 4, 3)],
        2 * 4 * 27 * 2 * (8 * 3 + 8 * 2),
        2 * 3 * 27 * 2,
    ),
    "Dense": (lambda: layers.Dense(5), [(6,)], 6 * 5, 0),
    "Dense, on a sequence": (
        lambda: layers.Dense(5, activation="softmax"),
        [SEQUENCE],
        8 * 6 * 5,
        8 * 5,
    ),
    "DepthwiseConv1D": (
        lambda: layers.DepthwiseConv1D(3),
        [SEQUENCE],
        6 * 6 * 3,
        0,
    ),
    "DepthwiseConv2D": (
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
        [PICTURE],
        6 * 6 * 12 * 9,
        0,
    ),
    "Dot": (lambda: layers.Dot((2, 1)), [(5, 7), (7, 3)], 5 * 3 * 7, 0),
    "Dot, normalized": (
        lambda: layers.Dot(2, normalize=True),
        [(5, 7), (3, 7)],
        5 * 3 * 7,
        2 * 35 + 2 * 21,
    ),
    "ELU": (layers.ELU, [SEQUENCE], 0, 48),
    "EinsumDense": (
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 5)),
        [SEQUENCE],
        8 * 6 * 2 * 5,
        0,
    ),
    "EinsumDense, any rank": (
        lambda: layers.EinsumDense("...x,xy->...y", 5, activation="silu"),
        [PICTURE],
        64 * 6 * 5,
        64 * 5,
    ),
    # Nothing is summed: a factor for every channel.
    "EinsumDense, elementwise": (
        lambda: layers.EinsumDense("abc,c->abc", (None, 6)),
        [SEQUENCE],
        0,
        48,
    ),
    "Embedding": (lambda: layers.Embedding(10, 4), [("int32", 8)], 0, 0),
    "GRU": (
        lambda: layers.GRU(4),
        [SEQUENCE],
        8 * 3 * 4 * (6 + 4),
        8 * 3 * 4,
    ),
    "GRU, silu": (
        lambda: layers.GRU(4, "silu", "hard_sigmoid", reset_after=False),
        [SEQUENCE],
        8 * 3 * 4 * (6 + 4),
        8 * (3 * 4 + 4 + 2 * 4),
    ),
    "GlobalAveragePooling1D": (
        layers.GlobalAveragePooling1D,
        [SEQUENCE],
        0,
        6,
    ),
    "GlobalAveragePooling2D": (layers.GlobalAveragePooling2D, [PICTURE], 0, 6),
    "GlobalAveragePooling3D": (layers.GlobalAveragePooling3D, [VOLUME], 0, 6),
    # Three per number; a mean and a variance for each of 2 groups.
    "GroupNormalization": (
        lambda: layers.GroupNormalization(2),
        [PICTURE],
        0,
        3 * 384 + 2 * 2,
    ),
    "GroupNormalization, no scale": (
        lambda: layers.GroupNormalization(3, scale=False),
        [PICTURE],
        0,
        2 * 384 + 2 * 3,
    ),
    # Queries to 4 heads of width 3, keys and values to 2, back to 6.
    "GroupQueryAttention": (
        lambda: layers.GroupQueryAttention(3, 4, 2),
        [QUERY, VALUE],
        5 * 6 * 12 + 2 * 7 * 6 * 6 + 2 * (4 * 5 * 7 * 3) + 5 * 12 * 6,
        5 * 12 + 4 * 5 * 7,
    ),
    "GroupQueryAttention, gated": (
        lambda: layers.GroupQueryAttention(3, 4, 2, use_gate=True),
        [QUERY, VALUE],
        5 * 6 * 24 + 2 * 7 * 6 * 6 + 2 * (4 * 5 * 7 * 3) + 5 * 12 * 6,
        5 * 12 + 4 * 5 * 7 + 5 * 12,
    ),
    "LSTM": (
        lambda: layers.LSTM(4, return_sequences=True),
        [SEQUENCE],
        8 * 4 * 4 * (6 + 4),
        8 * 3 * 4,
    ),
    "LSTM, silu": (
        lambda: layers.LSTM(4, "silu", "hard_sigmoid"),
        [SEQUENCE],
        8 * 4 * 4 * (6 + 4),
        8 * (3 * 4 + 2 * 4 + 3 * 4),
    ),
    # A mean and a variance for each of 8 positions.
    "LayerNormalization": (
        layers.LayerNormalization,
        [SEQUENCE],
        0,
        3 * 48 + 2 * 8,
    ),
    "LayerNormalization, two axes": (
        lambda: layers.LayerNormalization((1, 2), scale=False),
        [SEQUENCE],
        0,
        2 * 48 + 2,
    ),
    "LeakyReLU": (layers.LeakyReLU, [SEQUENCE], 0, 48),
    # 2 heads, keys of 4, values of 3; queries are scaled before.
    "MultiHeadAttention": (
        lambda: layers.MultiHeadAttention(2, 4, 3),
        [QUERY, VALUE],
        5 * 6 * 8 + 7 * 6 * 8 + 7 * 6 * 6 + 2 * 5 * 7 * (4 + 3) + 5 * 6 * 6,
        5 * 8 + 2 * 5 * 7,
    ),
    "MultiHeadAttention, with keys": (
        lambda: layers.MultiHeadAttention(2, 4, 3, output_shape=(9,)),
        [QUERY, NARROW, VALUE],
        5 * 6 * 8 + 7 * 6 * 8 + 7 * 4 * 6 + 2 * 5 * 7 * (4 + 3) + 5 * 6 * 9,
        5 * 8 + 2 * 5 * 7,
    ),
    # Over 5 columns within each of 3 rows.
    "MultiHeadAttention, over one axis": (
        lambda: layers.MultiHeadAttention(2, 4, 4, attention_axes=(2,)),
        [(3, 5, 6)] * 2,
        4 * (15 * 6 * 8) + 2 * (2 * 3 * 5 * 5 * 4),
        15 * 8 + 2 * 3 * 5 * 5,
    ),
    "MultiHeadAttention, gated": (
        lambda: layers.MultiHeadAttention(2, 4, 3, use_gate=True),
        [QUERY, VALUE],
        5 * 6 * 8
        + 7 * 6 * 8
        + 7 * 6 * 6
        + 2 * 5 * 7 * (4 + 3)
        + 2 * (5 * 6 * 6),
        5 * 8 + 2 * 5 * 7 + 5 * 6,
    ),
    "Multiply": (layers.Multiply, [SEQUENCE] * 3, 0, 2 * 48),
    "Normalization": (
        lambda: layers.Normalization(mean=2.0, variance=3.0),
        [SEQUENCE],
        0,
        48,
    ),
    "PReLU": (layers.PReLU, [SEQUENCE], 0, 48),
    "Pipeline": (
        lambda: layers.Pipeline(
            [layers.Resizing(4, 4), layers.Rescaling(1 / 255)]
        ),
        [PICTURE],
        0,
        4 * 96 + 96,
    ),
    # A square and two products per number, a quotient per position.
    "RMSNormalization": (layers.RMSNormalization, [SEQUENCE], 0, 3 * 48 + 8),
    "RNN": (
        lambda: layers.RNN([layers.GRUCell(4), layers.SimpleRNNCell(3)]),
        [SEQUENCE],
        8 * (3 * 4 * (6 + 4) + 3 * (4 + 3)),
        8 * 3 * 4,
    ),
    "ReLU": (layers.ReLU, [SEQUENCE], 0, 0),
    "ReLU, leaky": (
        lambda: layers.ReLU(negative_slope=0.1),
        [SEQUENCE],
        0,
        48,
    ),
    "Rescaling": (lambda: layers.Rescaling(1 / 255), [PICTURE], 0, 384),
    "Resizing": (lambda: layers.Resizing(4, 5), [PICTURE], 0, 4 * 4 * 5 * 6),
    "Resizing, nearest": (
        lambda: layers.Resizing(4, 5, "nearest"),
        [PICTURE],
        0,
        0,
    ),
    "Resizing, to its size": (lambda: layers.Resizing(8, 8), [PICTURE], 0, 0),
    "ReversibleEmbedding": (
        lambda: layers.ReversibleEmbedding(10, 4),
        [("int32", 8)],
        0,
        0,
    ),
    # 4 frames of 4 numbers, 5 frequencies, cosine and sine.
    "STFTSpectrogram": (
        lambda: layers.STFTSpectrogram(
            "magnitude", frame_length=4, frame_step=2, fft_length=8
        ),
        [(10, 1)],
        2 * 4 * 5 * 4,
        2 * 4 * 5,
    ),
    "STFTSpectrogram, both": (
        lambda: layers.STFTSpectrogram(
            "stft", frame_length=4, frame_step=2, fft_length=8
        ),
        [(10, 2)],
        2 * (2 * 4 * 5 * 4),
        0,
    ),
    "STFTSpectrogram, real": (
        lambda: layers.STFTSpectrogram(
            "real", frame_length=4, frame_step=2, fft_length=8
        ),
        [(10, 1)],
        4 * 5 * 4,
        0,
    ),
    "SeparableConv1D": (
        lambda: layers.SeparableConv1D(4, 3),
        [SEQUENCE],
        6 * 6 * 3 + 6 * 4 * 6,
        0,
    ),
    "SeparableConv2D": (
        lambda: layers.SeparableConv2D(
            4, 3, depth_multiplier=2, activation="silu"
        ),
        [PICTURE],
        36 * 12 * 9 + 36 * 4 * 12,
        36 * 4,
    ),
    "SimpleRNN": (
        lambda: layers.SimpleRNN(4),
        [SEQUENCE],
        8 * 4 * (6 + 4),
        0,
    ),
    "Softmax": (layers.Softmax, [SEQUENCE], 0, 48),
    "SpectralNormalization": (
        lambda: layers.SpectralNormalization(layers.Conv1D(4, 3)),
        [SEQUENCE],
        6 * 4 * 3 * 6,
        0,
    ),
    "TimeDistributed": (
        lambda: layers.TimeDistributed(layers.Conv2D(4, 3, activation="silu")),
        [(5, 8, 8, 6)],
        5 * 36 * 4 * 9 * 6,
        5 * 36 * 4,
    ),
    "TimeDistributed, a model": (
        lambda: layers.TimeDistributed(_inner()),
        [SEQUENCE],
        8 * (6 * 4 + 4 * 3),
        0,
    ),
    "UnitNormalization": (layers.UnitNormalization, [SEQUENCE], 0, 2 * 48),
    "UpSampling2D": (lambda: layers.UpSampling2D(2), [PICTURE], 0, 0),
    "UpSampling2D, bilinear": (
        lambda: layers.UpSampling2D(2, interpolation="bilinear"),
        [PICTURE],
        0,
        4 * 16 * 16 * 6,
    ),
    "UpSampling2D, bicubic": (
        lambda: layers.UpSampling2D(2, interpolation="bicubic"),
        [PICTURE],
        0,
        16 * 16 * 16 * 6,
    ),
}
# Called by other layers, or on words: counted in tests of their own.
APART = """
    GRUCell IntegerLookup LSTMCell SimpleRNNCell StackedRNNCells StringLookup
    TextVectorization
""".split()
FREE = """
    ActivityRegularization AdaptiveMaxPooling1D AdaptiveMaxPooling2D
    AdaptiveMaxPooling3D Add AlphaDropout AugMix CategoryEncoding Concatenate
    Cropping1D Cropping2D Cropping3D CutMix Discretization Dropout Equalization
    Flatten GaussianDropout GaussianNoise GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D HashedCrossing Hashing Identity InputLayer Masking
    MaxNumBoundingBoxes MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum
    MixUp Permute RandAugment RandomBrightness RandomColorDegeneration
    RandomColorJitter RandomContrast RandomCrop RandomElasticTransform
    RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue
    RandomInvert RandomPerspective RandomPosterization RandomRotation
    RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom
    RepeatVector Reshape Solarization SpatialDropout1D SpatialDropout2D
    SpatialDropout3D Subtract UpSampling1D UpSampling3D ZeroPadding1D
    ZeroPadding2D ZeroPadding3D
""".split()
UNKNOWN = """
    AutoContrast ContrastLimitedAdaptiveHistogramEqualization FlaxLayer
    JaxLayer Lambda MelSpectrogram TFSMLayer TorchModuleWrapper Wrapper
""".split()
