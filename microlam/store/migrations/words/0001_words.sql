-- The words of every invocation that has ended, in two indexes that take turns: one is written; once all that the other one knows
-- is forgotten, that one is emptied at a stroke and written from then on. SQLite before 3.43 cannot take a single row out of an index
-- that keeps no copy of its texts. What is forgotten and still indexed leads to no record, so nobody sees it.
-- A row's number is its key's first eight bytes (the `place` of queries.sql), so rows lie in the order of time.
-- The separators are signs that are younger than SQLite's tables of Unicode, which take what they do not know for letters.
CREATE VIRTUAL TABLE words_a USING fts5(text, content = '', columnsize = 0, detail = none, tokenize = "unicode61 remove_diacritics 0 separators '
֍֎؝߾߿࢈৽੶౷಄൏᭽᭾₺₻₼₽₾₿⃀↊↋⏴⏵⏶⏷⏸⏹⏺⏻⏼⏽⏾⏿✀⭍⭎⭏⭚⭛⭜⭝⭞⭟⭠⭡⭢⭣⭤⭥⭦⭧⭨⭩⭪⭫⭬⭭⭮⭯⭰⭱⭲⭳⭶⭷⭸⭹⭺⭻⭼⭽⭾⭿⮀⮁⮂⮃⮄⮅⮆⮇⮈⮉⮊⮋⮌⮍⮎⮏⮐⮑⮒⮓⮔⮕⮗⮘⮙⮚⮛⮜⮝⮞⮟⮠⮡⮢⮣⮤⮥⮦⮧⮨⮩⮪⮫⮬⮭⮮⮯⮰⮱⮲⮳⮴⮵⮶⮷⮸
⮹⮺⮻⮼⮽⮾⮿⯀⯁⯂⯃⯄⯅⯆⯇⯈⯉⯊⯋⯌⯍⯎⯏⯐⯑⯒⯓⯔⯕⯖⯗⯘⯙⯚⯛⯜⯝⯞⯟⯠⯡⯢⯣⯤⯥⯦⯧⯨⯩⯪⯫⯬⯭⯮⯯⯰⯱⯲⯳⯴⯵⯶⯷⯸⯹⯺⯻⯼⯽⯾⯿⸼⸽⸾⸿⹀⹁⹂⹃⹄⹅⹆⹇⹈⹉⹊⹋⹌⹍⹎⹏⹐⹑⹒⹓⹔⹕⹖⹗⹘⹙⹚⹛⹜⹝㋿꣼꭛꭪꭫﯂﵀﵁﵂﵃﵄﵅﵆﵇﵈﵉﵊﵋﵌﵍﵎﵏﷏﷾﷿
'");
CREATE VIRTUAL TABLE words_b USING fts5(text, content = '', columnsize = 0, detail = none, tokenize = "unicode61 remove_diacritics 0 separators '
֍֎؝߾߿࢈৽੶౷಄൏᭽᭾₺₻₼₽₾₿⃀↊↋⏴⏵⏶⏷⏸⏹⏺⏻⏼⏽⏾⏿✀⭍⭎⭏⭚⭛⭜⭝⭞⭟⭠⭡⭢⭣⭤⭥⭦⭧⭨⭩⭪⭫⭬⭭⭮⭯⭰⭱⭲⭳⭶⭷⭸⭹⭺⭻⭼⭽⭾⭿⮀⮁⮂⮃⮄⮅⮆⮇⮈⮉⮊⮋⮌⮍⮎⮏⮐⮑⮒⮓⮔⮕⮗⮘⮙⮚⮛⮜⮝⮞⮟⮠⮡⮢⮣⮤⮥⮦⮧⮨⮩⮪⮫⮬⮭⮮⮯⮰⮱⮲⮳⮴⮵⮶⮷⮸
⮹⮺⮻⮼⮽⮾⮿⯀⯁⯂⯃⯄⯅⯆⯇⯈⯉⯊⯋⯌⯍⯎⯏⯐⯑⯒⯓⯔⯕⯖⯗⯘⯙⯚⯛⯜⯝⯞⯟⯠⯡⯢⯣⯤⯥⯦⯧⯨⯩⯪⯫⯬⯭⯮⯯⯰⯱⯲⯳⯴⯵⯶⯷⯸⯹⯺⯻⯼⯽⯾⯿⸼⸽⸾⸿⹀⹁⹂⹃⹄⹅⹆⹇⹈⹉⹊⹋⹌⹍⹎⹏⹐⹑⹒⹓⹔⹕⹖⹗⹘⹙⹚⹛⹜⹝㋿꣼꭛꭪꭫﯂﵀﵁﵂﵃﵄﵅﵆﵇﵈﵉﵊﵋﵌﵍﵎﵏﷏﷾﷿
'");

-- Which keys a number stands for: one, but for a chance in thousands.
CREATE TABLE places (
    place INTEGER NOT NULL,
    key   BLOB NOT NULL,
    PRIMARY KEY (place, key)
) WITHOUT ROWID;

-- From which to which key each index reaches, and which is written.
CREATE TABLE turns (
    name    TEXT NOT NULL PRIMARY KEY,
    first   BLOB,
    last    BLOB,
    written INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO turns (name, written) VALUES ('a', 1), ('b', 0);
