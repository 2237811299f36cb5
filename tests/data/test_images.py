import os
import socket
import struct
import warnings
import zlib

import numpy as np
import PIL
import pytest
import tifffile
from PIL import Image

from featurespace.data.images import ImageFiles, header_notes, read_header, read_image
from featurespace.data.transforms import resize_and_crop, to_unit_range
from featurespace.errors import FeaturespaceError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (9, 7), dtype=np.uint16)
COLOUR16 = RNG.integers(0, 65536, (9, 7, 3), dtype=np.uint16)
FRAMES = [Image.new("RGB", (8, 8), (60 * number, 0, 0)) for number in range(3)]


def png(width, height, *, depth=8, colour_type=0, rows=b""):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def palette(**save):
    image = Image.fromarray(COLOUR).quantize(16)
    return image, np.asarray(image.convert("RGB")), save


# How a file is written, and the (h, w) or (h, w, 3) values in 0..255 that must be read.
EXACT = {
    "grey.png": (Image.fromarray(GREY), GREY),
    "grey_alpha.png": (Image.fromarray(np.dstack([GREY, GREY[::-1]])), GREY),
    "one_bit.png": (Image.fromarray(GREY > 99), (GREY > 99) * 255.0),
    "one_bit.tif": (Image.fromarray(GREY > 99), (GREY > 99) * 255.0),
    "rgb.bmp": (Image.fromarray(COLOUR), COLOUR),
    "rgba.png": (Image.fromarray(np.dstack([COLOUR, GREY])), COLOUR),
    "palette.png": palette()[:2],
    "palette.gif": palette()[:2],
    "palette_one_clear.png": palette(transparency=3),
    "palette_alpha.png": palette(transparency=bytes(range(0, 256, 16))),
    "upper_case.PNG": (Image.fromarray(COLOUR), COLOUR),
    "lossless.webp": (Image.fromarray(COLOUR), COLOUR, {"lossless": True}),
    "16_bit.png": (Image.fromarray(GREY16), GREY16 / 257),
    "16_bit.pgm": (Image.fromarray(GREY16), GREY16 / 257),
    "16_bit.jp2": (Image.fromarray(GREY16), GREY16 / 257),
}
TIFF = {
    "16_bit": (GREY16, GREY16 / 257, {}),
    "16_bit_big_endian": (GREY16, GREY16 / 257, {"byteorder": ">"}),
    "16_bit_white_is_zero": (GREY16, 255 - GREY16 / 257, {"photometric": "miniswhite"}),
    "8_bit_white_is_zero": (GREY, 255.0 - GREY, {"photometric": "miniswhite"}),
    "floating_white_is_zero": (GREY.astype(np.float32) / 255, 255.0 - GREY, {"photometric": "miniswhite"}),
    "planes": (COLOUR.transpose(2, 0, 1), COLOUR, {"photometric": "rgb", "planarconfig": "separate"}),
    "floating": (GREY.astype(np.float32) / 255, GREY, {}),
    "16_bit_colour": (COLOUR16, COLOUR16 / 257, {"photometric": "rgb"}),
    "16_bit_colour_big_endian": (COLOUR16, COLOUR16 / 257, {"photometric": "rgb", "byteorder": ">"}),
    "16_bit_colour_deflated": (COLOUR16, COLOUR16 / 257, {"photometric": "rgb", "compression": "zlib"}),
    "16_bit_colour_planes": (
        COLOUR16.transpose(2, 0, 1),
        COLOUR16 / 257,
        {"photometric": "rgb", "planarconfig": "separate"},
    ),
    "16_bit_colour_alpha": (
        np.dstack([COLOUR16, GREY16]),
        COLOUR16 / 257,
        {"photometric": "rgb", "extrasamples": ["unassalpha"]},
    ),
}


def same(path, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(path)
    channels = 3 if expected.ndim == 3 else 1
    read = to_unit_range(image, channels=channels) * 255
    expected = expected.transpose(2, 0, 1) if channels == 3 else expected[None]
    np.testing.assert_allclose(read, expected, atol=2e-3)


@pytest.mark.parametrize("name", EXACT)
def test_every_mode_keeps_its_values(tmp_path, name):
    image, expected, *save = EXACT[name]
    image.save(tmp_path / name, **(save[0] if save else {}))
    same(tmp_path / name, expected)


@pytest.mark.parametrize("name", TIFF)
def test_every_tiff_keeps_its_values(tmp_path, name):
    array, expected, options = TIFF[name]
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    same(tmp_path / "a.tif", expected)


def write_png16(path, array):
    rows = b"".join(b"\0" + row.tobytes() for row in array.astype(">u2"))
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[-1]]
    path.write_bytes(png(array.shape[1], array.shape[0], depth=16, colour_type=kind, rows=rows))


def test_16_bit_colour_keeps_its_16_bit(tmp_path):
    write_png16(tmp_path / "a.png", COLOUR16)
    same(tmp_path / "a.png", COLOUR16 / 257)
    write_png16(tmp_path / "alpha.png", np.dstack([COLOUR16, GREY16]))
    same(tmp_path / "alpha.png", COLOUR16 / 257)
    grey = to_unit_range(read_image(tmp_path / "a.png"), channels=1)
    np.testing.assert_allclose(grey[0], COLOUR16 / 65535 @ [0.299, 0.587, 0.114], atol=1e-6)
    tifffile.imwrite(tmp_path / "cmyk.tif", np.dstack([COLOUR16, GREY16]), photometric="separated")
    headers = [read_header(tmp_path / name) for name in ("a.png", "cmyk.tif")]
    assert [header.deep_colour for header in headers] == [False, True]


def test_scaling_deep_colour_is_scaling_each_of_its_planes(tmp_path):
    image = RNG.random((20, 30, 3), dtype=np.float32) * 255
    scaled = resize_and_crop(image, 8, 8)
    for channel in range(3):
        plane = resize_and_crop(Image.fromarray(np.ascontiguousarray(image[..., channel])), 8, 8)
        assert np.array_equal(scaled[..., channel], np.asarray(plane))
    eight = resize_and_crop(Image.fromarray(image.astype(np.uint8)), 8, 8)
    np.testing.assert_allclose(resize_and_crop(image.astype(np.uint8).astype(np.float32), 8, 8), eight, atol=1.01)


def test_a_truncated_file_of_deep_colour_is_named(tmp_path):
    write_png16(tmp_path / "a.png", COLOUR16)
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:90])
    with pytest.raises(FeaturespaceError, match="a.png cannot be read as an image"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(("mode", "suffix"), [
    ("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "jpg"),
    pytest.param("YCbCr", "tif", marks=pytest.mark.skipif(
        int(PIL.__version__.split(".")[0]) < 13, reason="Pillow before 13 cannot read the YCbCr TIFF that it writes")),
])  # fmt: skip
def test_other_colours_become_rgb(tmp_path, mode, suffix):
    flat = Image.new("RGB", (8, 8), (200, 40, 90))
    flat.convert(mode).save(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(np.asarray(read_image(tmp_path / f"a.{suffix}")), np.asarray(flat), atol=3)


def test_lab_becomes_rgb(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4, 3), (255, 0, 0), np.uint8), photometric="cielab")
    np.testing.assert_allclose(np.asarray(read_image(tmp_path / "a.tif")), 255, atol=1)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, lambda a: a), (2, np.fliplr), (3, lambda a: np.rot90(a, 2)), (4, np.flipud), (5, lambda a: a.swapaxes(0, 1)),
     (6, lambda a: np.rot90(a, -1)), (7, lambda a: np.rot90(a, 2).swapaxes(0, 1)), (8, np.rot90)],
)  # fmt: skip
def test_exif_orientation_is_applied(tmp_path, orientation, upright):
    image = Image.fromarray(COLOUR)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png")), upright(COLOUR))


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_a_turned_tiff_is_read_as_it_is_written(tmp_path, photometric):
    # Mapped into memory, as Pillow does with a file's name, its rows would have the wrong length.
    tifffile.imwrite(tmp_path / "a.tif", GREY16, photometric=photometric, extratags=[(274, 3, 1, 6, True)])
    array = np.asarray(read_image(tmp_path / "a.tif"))
    np.testing.assert_array_equal(array if photometric == "minisblack" else 65535 - array, np.rot90(GREY16, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_deep_colour_is_read_upright(tmp_path, orientation):
    eight = Image.fromarray((COLOUR16 >> 8).astype(np.uint8))
    exif = eight.getexif()
    exif[274] = orientation
    eight.save(tmp_path / "a.png", exif=exif)
    tags = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", COLOUR16, photometric="rgb", extratags=tags)
    deep = np.floor(read_image(tmp_path / "a.tif") / 255 * 65535 + 0.5).astype(int) >> 8
    np.testing.assert_array_equal(deep, np.asarray(read_image(tmp_path / "a.png")))


def test_planes_of_16_bit_that_are_not_rgb_are_refused(tmp_path):
    planes = np.dstack([COLOUR16, GREY16]).transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="separated", planarconfig="separate")
    with pytest.raises(FeaturespaceError, match=r"a\.tif holds colours of 16 bit in separate planes"):
        read_image(tmp_path / "a.tif")


def test_a_tiff_of_several_slices_of_deep_colour_says_how_to_save_it(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((2, 16, 16, 3), np.uint16), photometric="rgb", volumetric=True, tile=(2, 16, 16)
    )
    with pytest.raises(FeaturespaceError, match=r"a\.tif .*\(2, 16, 16, 3\); save it as RGB with 8 or 16 bit"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_frame_is_used(tmp_path, suffix):
    FRAMES[1].save(tmp_path / f"a.{suffix}", save_all=True, append_images=FRAMES[2:])
    assert abs(int(np.asarray(read_image(tmp_path / f"a.{suffix}"))[0, 0, 0]) - 60) < 4
    assert read_header(tmp_path / f"a.{suffix}").frames


def test_what_is_left_out_is_said_with_count_and_example(tmp_path):
    FRAMES[0].save(tmp_path / "frames.gif", save_all=True, append_images=FRAMES[1:])
    Image.fromarray(np.dstack([COLOUR, GREY])).save(tmp_path / "clear.png")
    Image.fromarray(COLOUR).quantize(16).save(tmp_path / "palette.png", transparency=3)
    names = ["frames.gif", "clear.png", "palette.png", "missing.png"]
    images = ImageFiles([tmp_path / name for name in names])
    notes = list(header_notes([images.header(index) for index in range(4)], names))
    assert notes == [
        "1 of 4 images hold several frames or pages, of which the first is used, e.g. frames.gif",
        "2 of 4 images hold transparency, which is left out, e.g. clear.png",
        "images have 2 sizes, 7 x 9 to 8 x 8; each is scaled to cover the input, then its centre cut out",
    ]


def test_a_png_named_jpg_and_a_profile_that_is_none_are_read(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", format="PNG", icc_profile=b"no profile")
    same(tmp_path / "a.jpg", COLOUR)


def broken(folder):
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "whole.jpg")
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "whole.png")
    return {
        "empty.png": b"",
        "text.png": b"not an image",
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "cut.png": (folder / "whole.png").read_bytes()[:800],
        "cut.jpg": (folder / "whole.jpg").read_bytes()[:800],
        "no_content.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        "bomb.png": png(60_000, 60_000, rows=b"\0" * 1000),
        "long_bomb.png": png(1, 2**31 - 1, rows=b"\0" * 1000),
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [("empty.png", "the file is empty"), ("text.png", "formats: PNG, JPEG"), ("postscript.png", "formats: PNG, JPEG"), ("cut.png", "truncated"),
     ("cut.jpg", "truncated"), ("no_content.png", "not an image"), ("bomb.png", "exceeds limit"), ("long_bomb.png", "exceeds limit")],
)  # fmt: skip
def test_broken_files_are_named_with_the_reason(tmp_path, name, reason):
    (tmp_path / name).write_bytes(broken(tmp_path)[name])
    with pytest.raises(FeaturespaceError, match=rf"{name}.*{reason}"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("error", [struct.error("short"), IndexError("far"), MemoryError(), ZeroDivisionError("zero")])
def test_whatever_pillow_raises_is_a_broken_file(tmp_path, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(
        FeaturespaceError, match=rf"a\.png cannot be read as an image \({str(error) or type(error).__name__}\)"
    ):
        read_image(tmp_path / "a.png")
    assert read_header(tmp_path / "a.png") is None


def test_pipes_sockets_and_missing_files_do_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.png"))
        for name, reason in (("pipe.png", "is no regular file"), ("socket.png", "is no regular"), ("x.png", "does not exist"),
                             ("x" * 5000, "does not exist")):  # fmt: skip
            images = ImageFiles([tmp_path / name])
            with pytest.raises(FeaturespaceError, match=reason):
                images.image(0)
            assert images.digest(0) == "" and images.header(0) is None


def test_a_file_that_may_not_be_read_is_a_bad_image(tmp_path, monkeypatch):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    images = ImageFiles([tmp_path / "a.png"])
    with pytest.raises(FeaturespaceError, match=r"a\.png cannot be read as an image .*Permission denied"):
        images.image(0)
    assert images.digest(0) == ""


@pytest.mark.parametrize(
    ("array", "message"),
    [(np.full((4, 4), 9.0, np.float32), r"floating values from 9 to 9; scale them to 0\.\.1"),
     (np.full((4, 4), np.nan, np.float32), "floating values from nan"),
     (np.full((4, 4), 200, np.int32), "signed or 32-bit integers, whose range is not known"),
     (np.full((4, 4), 200, np.int16), "signed or 32-bit integers")],
)  # fmt: skip
def test_unknown_ranges_are_refused(tmp_path, array, message):
    tifffile.imwrite(tmp_path / "a.tif", array)
    with pytest.raises(FeaturespaceError, match=message):
        read_image(tmp_path / "a.tif")
