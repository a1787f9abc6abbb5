"""Frames: decoded as OpenCV decodes them, and refused where they are not whole."""

import pathlib
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flow.errors import InputError
from flow.faces.frames import read_face, read_grey


def _texture(height, width, channels=()):
    return np.random.default_rng(0).integers(0, 256, (height, width, *channels), np.uint8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_frame_is_read_as_opencv_reads_it(tmp_path, suffix, channels):
    path = tmp_path / f"frame.{suffix}"
    cv2.imwrite(str(path), _texture(34, 28, channels))
    expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    # JPEG stores the grey values; for colour in PNG and BMP the two round luma differently.
    tolerance = 1 if channels and suffix != "jpg" else 0
    np.testing.assert_allclose(read_grey(path).astype(int), expected.astype(int), atol=tolerance)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_face_in_colour_is_read_as_opencv_reads_it(tmp_path, suffix, channels):
    path = tmp_path / f"frame.{suffix}"
    cv2.imwrite(str(path), _texture(300, 280, channels))
    expected = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)[20:244, 30:254]
    face = read_face(path, (30, 20, 224, 224), "RGB")
    np.testing.assert_array_equal(face, expected)
    if not channels:
        np.testing.assert_array_equal(face, np.repeat(face[..., :1], 3, axis=-1))
        np.testing.assert_array_equal(face[..., 0], read_face(path, (30, 20, 224, 224)))


def test_a_truncated_frame_is_refused_in_colour_too(tmp_path):
    path = tmp_path / "frame.jpg"
    cv2.imwrite(str(path), _texture(64, 64, (3,)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])
    with pytest.raises(InputError, match=r"frame\.jpg: unreadable or truncated"):
        read_face(path, None, "RGB")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_truncated_frame_is_named_and_never_half_read(tmp_path, suffix, part):
    whole = tmp_path / f"whole.{suffix}"
    cv2.imwrite(str(whole), _texture(34, 28))
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(content[: int(part * len(content))])
    try:
        image = read_grey(cut)
    except InputError as error:
        assert str(cut) in str(error) and "\n" not in str(error)
    else:  # only a PNG's closing chunk was cut off
        assert suffix == "png" and len(content) - len(cut.read_bytes()) < 25
        np.testing.assert_array_equal(image, read_grey(whole))


def test_the_truncated_jpeg_that_opencv_half_reads_is_refused(tmp_path):
    path = tmp_path / "frame.jpg"
    cv2.imwrite(str(path), _texture(64, 64))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])
    with pytest.raises(InputError, match=r"frame\.jpg: unreadable or truncated"):
        read_grey(path)


def _png_of_size(width, height):
    """A PNG's head that claims a size, with no pixels behind it."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT"
    return head + struct.pack(">I", 0) + data + struct.pack(">I", zlib.crc32(data))


@pytest.mark.parametrize("side", [8_001, 10_000, 100_000])
def test_an_image_that_would_unpack_to_gigabytes_is_refused_by_its_header(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_of_size(side, side))
    with pytest.raises(InputError, match=r"bomb\.png: .*pixels"):
        read_grey(path)


def test_what_is_no_frame_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.jpg: no such image"):
        read_grey(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(InputError, match=r"text\.jpg: unreadable"):
        read_grey(tmp_path / "text.jpg")
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((8, 8), 40_000, np.uint16))
    with pytest.raises(InputError, match=r"deep\.png: more than 8 bits"):
        read_grey(tmp_path / "deep.png")


def test_a_face_is_the_box_and_nothing_around_it(tmp_path):
    image = np.zeros((300, 300), np.uint8)
    image[20:244, 30:254] = _texture(224, 224)
    path = tmp_path / "frame.png"
    cv2.imwrite(str(path), image)
    np.testing.assert_array_equal(read_face(path, (30, 20, 224, 224)), image[20:244, 30:254])


def test_a_shrunk_face_keeps_its_mean_and_an_enlarged_one_its_size(tmp_path):
    path = tmp_path / "frame.png"
    image = _texture(448, 448)
    cv2.imwrite(str(path), image)
    expected = image.reshape(224, 2, 224, 2).mean((1, 3))  # 2x2 areas
    np.testing.assert_allclose(read_face(path, None), expected, atol=0.51)
    assert read_face(path, (0, 0, 10, 12)).shape == (224, 224)


@pytest.mark.parametrize("box", [(-1, 0, 4, 4), (0, 0, 9, 4), (0, 5, 4, 4), (0, 0, 0, 4)])
def test_a_box_that_leaves_the_image_is_refused(tmp_path, box):
    path = tmp_path / "frame.png"
    cv2.imwrite(str(path), _texture(8, 8))
    with pytest.raises(InputError, match=r"frame\.png: the face box .* 8x8"):
        read_face(path, box)


def _png_of_16_bits(colour_type):
    """A whole PNG of 2x2 pixels."""

    def chunk(kind, data):
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    lines = (b"\0" + b"\x12\x34" * 2 * channels) * 2
    head = struct.pack(">IIBBBBB", 2, 2, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
def test_a_png_of_16_bits_a_channel_is_refused_in_grey_and_in_colour(tmp_path, colour_type):
    path = tmp_path / "a.png"
    path.write_bytes(_png_of_16_bits(colour_type))
    for read in (read_grey, lambda path: read_face(path, None, "RGB")):
        with pytest.raises(InputError, match=r"a\.png: more than 8 bits a channel"):
            read(path)


@pytest.mark.parametrize(("width", "height"), [(1, 20_000), (20_000, 1)])
def test_a_long_and_thin_image_is_refused_by_its_header(tmp_path, width, height):
    path = tmp_path / "a.png"
    path.write_bytes(_png_of_size(width, height))
    with pytest.raises(InputError, match=f"{width}x{height} pixels, a side of more than 16384"):
        read_grey(path)


def test_a_device_is_no_frame(tmp_path):
    with pytest.raises(InputError, match="/dev/zero: a pipe, a device or a socket"):
        read_grey(pathlib.Path("/dev/zero"))
