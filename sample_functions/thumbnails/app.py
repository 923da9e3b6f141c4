"""Makes a thumbnail of every picture dropped into a bucket; Pillow comes from requirements.txt beside this file.

    cp photo.jpg sample_functions/uploads/in/       # then look into sample_functions/uploads/thumbnails/
"""
import io
import os
from urllib.parse import unquote_plus

from PIL import Image
from storage import read, write

from microlam import on_file

SIZE = (int(os.environ.get("THUMBNAIL_SIZE", "128")),) * 2     # from microlam.toml


# The thumbnails go into the same bucket. They do not start this function again, because their keys do not begin with in/.
@on_file("uploads", prefix="in/", suffix=".png", events="s3:ObjectCreated:*")
@on_file("uploads", prefix="in/", suffix=".jpg", events="s3:ObjectCreated:*")
def handler(event, context):
    return {"made": [make_thumbnail(record["s3"]) for record in event["Records"]]}


def make_thumbnail(s3):
    bucket = s3["bucket"]["name"]
    key = unquote_plus(s3["object"]["key"])                    # S3 encodes keys in events: a space comes as +
    name = key.rpartition("/")[2].rpartition(".")[0]
    with Image.open(io.BytesIO(read(bucket, key))) as picture:
        picture.thumbnail(SIZE)
        small = io.BytesIO()
        picture.convert("RGB").save(small, "JPEG")
    print(f"{key}: {picture.width} x {picture.height}")
    return write(bucket, f"thumbnails/{name}.jpg", small.getvalue())
