"""Writes small pictures and what Pillow, OpenCV and TensorFlow 1's formula make of them.

    python generate.py                 # the pictures here and digests.json
    python generate.py --data FOLDER   # test_data_digests.json for the test data's pictures

Needs Pillow 12.1.0, opencv-python-headless 4.x or 5.x, numpy. Everything is seeded; the pictures are drawn here.
"""

import hashlib
import io
import json
import pathlib
import struct
import sys
import warnings
import zlib

import cv2
import numpy as np
import PIL
from PIL import Image

assert PIL.__version__ == "12.1.0", "the expected bytes are those of Pillow 12.1.0"
warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent
SIZES = [(300, 300), (32, 20), (7, 61), (120, 9)]


def drawing(width, height, seed):
    """Edges, gradients and noise, so that every path of the decoders has work to do."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    picture = np.stack([255 * x / width, 255 * y / height, 127 + 127 * np.sin(x * y / 40)], -1)
    picture[(x - width / 3) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2] = (250, 20, 40)
    picture[:, width // 2 : width // 2 + 2] = (0, 255, 30)
    picture += rng.normal(0, 12, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def jpegs():
    def saved(image, **options):
        out = io.BytesIO()
        image.save(out, "jpeg", **options)
        return out.getvalue()

    def opencv(array, *options):
        return cv2.imencode(".jpg", array[:, :, ::-1], list(options))[1].tobytes()

    rgb = Image.fromarray(drawing(45, 37, 1))
    wide = Image.fromarray(drawing(61, 22, 2))
    cmyk = Image.fromarray(np.dstack([drawing(35, 27, 3), drawing(35, 27, 4)[:, :, 0]]), "CMYK")
    yield "baseline_444.jpg", saved(rgb, quality=90, subsampling="4:4:4")
    yield "baseline_422.jpg", saved(rgb, quality=80, subsampling="4:2:2")
    yield "baseline_420.jpg", saved(rgb, quality=75, subsampling="4:2:0")
    yield "baseline_420_wide.jpg", saved(wide, quality=30, subsampling="4:2:0")
    yield "baseline_411.jpg", opencv(drawing(45, 37, 1), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x411111)
    yield "baseline_440.jpg", opencv(drawing(45, 37, 1), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x121111)
    yield "restart_markers.jpg", saved(rgb, quality=75, restart_marker_blocks=2)
    yield "optimized.jpg", saved(wide, quality=60, optimize=True)
    yield "progressive_420.jpg", saved(rgb, quality=75, progressive=True)
    yield "progressive_444.jpg", saved(wide, quality=95, progressive=True, subsampling="4:4:4")
    yield "grey.jpg", saved(rgb.convert("L"), quality=75)
    yield "grey_progressive.jpg", saved(wide.convert("L"), quality=50, progressive=True)
    yield "stored_as_rgb.jpg", saved(rgb, quality=75, keep_rgb=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "exif_rotated.jpg", saved(wide, quality=75, exif=exif)
    yield "one_pixel.jpg", saved(Image.new("RGB", (1, 1), (200, 100, 50)))
    yield "one_row.jpg", saved(Image.fromarray(drawing(40, 1, 5)), quality=85)
    with_adobe = saved(cmyk, quality=80)
    at = with_adobe.index(b"\xff\xee")
    assert with_adobe[at + 4 : at + 9] == b"Adobe" and with_adobe[at + 15] == 0
    yield "cmyk_adobe.jpg", with_adobe
    # The same entropy data, declared as YCCK: what it shows is nonsense, how it is decoded is not.
    yield "ycck_adobe.jpg", with_adobe[: at + 15] + b"\2" + with_adobe[at + 16 :]
    yield "cmyk_plain.jpg", with_adobe[:at] + with_adobe[at + 16 :]
    yield "bytes_after_the_end.jpg", saved(wide, quality=40) + b"trailing bytes"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, depth, color, extra=b"", interlaced=False):
    """`samples` is [height, width, channels]; each row takes another of the five filters."""
    height, width, channels = samples.shape

    def packed(rows):
        if depth == 16:
            return [row.astype(">u2").tobytes() for row in rows]
        if depth == 8:
            return [row.astype(np.uint8).tobytes() for row in rows]
        shifts = np.arange(depth - 1, -1, -1)
        return [np.packbits((row.reshape(-1, 1) >> shifts) & 1).tobytes() for row in rows]

    step = max(1, depth * channels // 8)

    def filtered(rows):
        before, out = bytes(len(rows[0])) if rows else b"", b""
        for number, row in enumerate(rows):
            kind = number % 5
            left = bytes(step) + row[:-step] if len(row) > step else bytes(len(row))
            corner = bytes(step) + before[:-step] if len(row) > step else bytes(len(row))
            guess = {
                0: bytes(len(row)),
                1: left,
                2: before,
                3: bytes((a + b) // 2 for a, b in zip(left, before)),
                4: bytes(paeth(a, b, c) for a, b, c in zip(left, before, corner)),
            }[kind]
            out += bytes([kind]) + bytes((a - b) & 255 for a, b in zip(row, guess))
            before = row
        return out

    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in passes]
        raw = b"".join(filtered(packed(part)) for part in parts if part.size)
    else:
        raw = filtered(packed(samples))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def paeth(a, b, c):
    near = [(abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c)]
    return min(near)[2]


def pngs():
    rng = np.random.default_rng(7)
    color = drawing(23, 19, 8)
    deep = (color.astype(np.uint16) << 8) | rng.integers(0, 256, color.shape, dtype=np.uint16)
    grey, deep_grey = color[:, :, :1], deep[:, :, :1].copy()
    deep_grey[:4] &= 0x1FF  # around 255, where clipping and shifting differ
    alpha = rng.integers(0, 256, grey.shape, dtype=np.uint8)
    palette = chunk(b"PLTE", rng.integers(0, 256, 3 * 256, dtype=np.uint8).tobytes())

    def few(count):
        return chunk(b"PLTE", rng.integers(0, 256, 3 * count, dtype=np.uint8).tobytes())

    for bits in (1, 2, 4):
        yield f"grey_{bits}.png", png(grey >> (8 - bits), bits, 0)
        yield f"palette_{bits}.png", png(grey >> (8 - bits), bits, 3, few(2**bits))
    yield "grey_8.png", png(grey, 8, 0)
    yield "grey_8_trns.png", png(grey, 8, 0, chunk(b"tRNS", b"\0\x80"))
    yield "grey_16.png", png(deep_grey, 16, 0)
    yield "rgb_8.png", png(color, 8, 2)
    yield "rgb_8_trns.png", png(color, 8, 2, chunk(b"tRNS", b"\0\1\0\2\0\3"))
    yield "rgb_16.png", png(deep, 16, 2)
    yield "palette_8.png", png(grey, 8, 3, palette)
    yield "palette_8_trns.png", png(grey, 8, 3, palette + chunk(b"tRNS", alpha.tobytes()[:200]))
    yield "palette_too_short.png", png(grey >> 4, 4, 3, few(9))
    yield "grey_alpha_8.png", png(np.dstack([grey, alpha]), 8, 4)
    yield "grey_alpha_16.png", png(np.dstack([deep_grey, deep[:, :, 1:2]]), 16, 4)
    yield "rgba_8.png", png(np.dstack([color, alpha]), 8, 6)
    yield "rgba_16.png", png(np.dstack([deep, deep[:, :, :1]]), 16, 6)
    yield "interlaced_rgb_8.png", png(color, 8, 2, interlaced=True)
    yield "interlaced_grey_1.png", png(grey >> 7, 1, 0, interlaced=True)
    yield "interlaced_palette_4.png", png(grey >> 4, 4, 3, few(16), interlaced=True)
    yield "interlaced_rgba_16.png", png(np.dstack([deep, deep[:, :, :1]]), 16, 6, interlaced=True)
    yield "one_pixel.png", png(color[:1, :1], 8, 2)
    yield "png_that_is_named.jpg", png(color[:9, :11], 8, 2)


def tensorflow_bilinear(picture, size):
    """`resize_bilinear` with align_corners and half_pixel_centers false, f32 throughout."""

    def axis(length, target):
        position = np.arange(target, dtype=np.float32) * (np.float32(length) / np.float32(target))
        low = np.floor(position).astype(np.int64)
        share = position - np.floor(position)
        return low, np.minimum(low + 1, length - 1), share.astype(np.float32)

    x0, x1, sx = axis(picture.shape[1], size[0])
    y0, y1, sy = axis(picture.shape[0], size[1])
    f = picture.astype(np.float32)
    sx, sy = sx[None, :, None], sy[:, None, None]
    top = f[y0][:, x0] + (f[y0][:, x1] - f[y0][:, x0]) * sx
    bottom = f[y1][:, x0] + (f[y1][:, x1] - f[y1][:, x0]) * sx
    out = top + (bottom - top) * sy
    assert out.dtype == np.float32
    return out.astype("<f4")


def digest(data):
    return hashlib.sha256(data).hexdigest()


def facts(name, data):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    array = np.asarray(image)
    half = (image.width // 2, image.height // 2)
    even = image.width % 2 == 0 and image.height % 2 == 0
    resized = []
    for size in SIZES + [(image.width, 11), (13, image.height)] + ([half] if even else []):
        resized.append({
            "width": size[0],
            "height": size[1],
            "pillow-bilinear": digest(image.resize(size, Image.Resampling.BILINEAR).tobytes()),
            "opencv-linear": digest(cv2.resize(array, size, interpolation=cv2.INTER_LINEAR).tobytes()),
            "tf-bilinear": digest(tensorflow_bilinear(array, size).tobytes()),
        })
    return {"file": name, "width": image.width, "height": image.height,
            "rgb": digest(image.tobytes()), "resized": resized}


def small_set():
    entries = []
    for name, data in list(jpegs()) + list(pngs()):
        (HERE / name).write_bytes(data)
        entries.append(facts(name, data))
    # A picture whose sides are even, so that OpenCV's halving is met.
    data = png(drawing(44, 30, 9), 8, 2)
    (HERE / "even_sides.png").write_bytes(data)
    entries.append(facts("even_sides.png", data))
    return entries


def data_set(folder):
    entries = []
    paths = [p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
    for path in sorted(paths):
        image = Image.open(path).convert("RGB")
        resized = image.resize((300, 300), Image.Resampling.BILINEAR)
        entries.append({"file": str(path.relative_to(folder)), "width": image.width, "height": image.height,
                        "rgb": digest(image.tobytes()), "pillow-bilinear-300x300": digest(resized.tobytes()),
                        "opencv-linear-300x300": digest(cv2.resize(np.asarray(image), (300, 300)).tobytes())})
    return entries


def main():
    if sys.argv[1:2] == ["--data"]:
        name, entries = "test_data_digests.json", data_set(pathlib.Path(sys.argv[2]))
    else:
        name, entries = "digests.json", small_set()
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    versions = {"pillow": PIL.__version__, "opencv": cv2.__version__, "numpy": np.__version__}
    (HERE / name).write_text(f'{{"made_with": {json.dumps(versions)}, "pictures": [\n{lines}\n]}}\n')
    print(name, len(entries), "pictures")


main()
