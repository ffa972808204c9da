"""Names of invented persons, each as Uzbeks write it and as Russian registrars wrote it.

Written from how people's names stand in documents, apart from the platform's own folding: what
the folding cannot bridge is to show up as an error of matching, not to be left out here.
"""

from __future__ import annotations

# "Uzbek Latin of 1995|Russian". Commoner names first.
MALE = """
Jasur|Джасур;Sardor|Сардор;Aziz|Азиз;Otabek|Отабек;Sherzod|Шерзод;Jamshid|Джамшид;Bobur|Бабур;
Ulug‘bek|Улугбек;Farrux|Фаррух;Dilshod|Дильшод;Anvar|Анвар;Rustam|Рустам;Akmal|Акмаль;
Bahodir|Баходир;Alisher|Алишер;Ravshan|Равшан;Shuhrat|Шухрат;Ilhom|Ильхом;Odil|Адыл;Botir|Батыр;
Islom|Ислам;Muhammad|Мухаммад;Abdulloh|Абдулла;Umid|Умид;Nodir|Надир;Ulug‘|Улуг;Mirzo|Мирза;
Oybek|Айбек;Davron|Даврон;Doniyor|Данияр;Eldor|Эльдор;Elyor|Эльёр;Erkin|Эркин;Farhod|Фархад;
G‘ayrat|Гайрат;G‘olib|Галиб;Hamid|Хамид;Hasan|Хасан;Husan|Хусан;Ibrohim|Ибрагим;Ikrom|Икрам;
Ismoil|Исмаил;Jahongir|Джахангир;Javohir|Жавохир;Kamol|Камал;Komil|Камил;Karim|Карим;Laziz|Лазиз;
Mahmud|Махмуд;Mansur|Мансур;Mirjalol|Миржалол;Murod|Мурад;Muzaffar|Музаффар;Ne’mat|Негмат;
Nurali|Нурали;Nuriddin|Нуриддин;Orif|Ариф;Oqil|Акил;O‘ktam|Уктам;O‘rol|Урал;O‘tkir|Уткир;
Po‘lat|Пулат;Qahramon|Кахрамон;Qobil|Кабил;Qodir|Кадыр;Qudrat|Кудрат;Rahim|Рахим;Rahmat|Рахмат;
Sa’dulla|Сагдулла;Said|Саид;Samandar|Самандар;Sanjar|Санжар;Sobir|Сабир;Sohib|Сахиб;Sulton|Султан;
Shavkat|Шавкат;Shohruh|Шахрух;Shoxrux|Шохрух;Tal’at|Талгат;Temur|Тимур;Tohir|Тахир;To‘lqin|Тулкин;
To‘xtasin|Тухтасин;Valijon|Валижон;Vohid|Вахид;Xayrulla|Хайрулла;Xurshid|Хуршид;Yo‘ldosh|Юлдаш;
Yusuf|Юсуф;Yunus|Юнус;Zafar|Зафар;Zohid|Захид;Zokir|Закир;Ziyodulla|Зиядулла;Asqar|Аскар;
Ahmad|Ахмад;Amir|Амир;Asad|Асад;Bekzod|Бекзод;Bunyod|Бунёд;Diyor|Диёр;Do‘stmurod|Дустмурад;
Fayzulla|Файзулла;Habibulla|Хабибулла;Hayot|Хаят;Iskandar|Искандар;Jo‘rabek|Джурабек;
Lutfulla|Лутфулла;Mardon|Мардон;Norboy|Нарбай;Nosir|Насыр;Olim|Алим;Ozod|Азад;Parviz|Парвиз;
Qo‘ldosh|Кулдаш;Ro‘zimurod|Рузимурад;Safar|Сафар;Tursun|Турсун;Usmon|Усман;Umar|Умар;Xolmat|Халмат;
Yoqub|Якуб;Zayniddin|Зайниддин;Chori|Чари;Eshmat|Эшмат;Toshpo‘lat|Ташпулат;Jumaboy|Жумабай;
Xudoyberdi|Худайберды;Abdurahmon|Абдурахман;Abdujabbor|Абдужаббар;Boymurod|Баймурад;Hikmat|Хикмат
"""
FEMALE = """
Dilnoza|Дильноза;Madina|Мадина;Gulnora|Гульнора;Nilufar|Нилуфар;Zulfiya|Зульфия;Malika|Малика;
Feruza|Феруза;Nargiza|Наргиза;Shahnoza|Шахноза;Mohira|Мохира;Sevara|Севара;Kamola|Камола;
Zuhra|Зухра;Fotima|Фатима;Dilfuza|Дильфуза;Gulchehra|Гульчехра;Barno|Барно;Lola|Лола;Umida|Умида;
Nodira|Надира;Aziza|Азиза;Rayhon|Райхон;Oysha|Айша;Zarina|Зарина;Mavluda|Мавлюда;Muhabbat|Мухаббат;
Munira|Мунира;Nafisa|Нафиса;Nigora|Нигора;Ozoda|Озода;O‘g‘iloy|Угилой;Xurshida|Хуршида;
Yulduz|Юлдуз;Saodat|Саодат;Robiya|Рабия;Sabohat|Сабохат;Sayyora|Сайёра;Shoira|Шоира;
Surayyo|Сурайё;Tursunoy|Турсуной;Xadicha|Хадича;Zamira|Замира;Ziyoda|Зиёда;Adolat|Адолат;
Anora|Анора;Dildora|Дильдора;Dilrabo|Дильрабо;Dilorom|Диларам;Farangiz|Фарангиз;Gavhar|Гавхар;
Go‘zal|Гузаль;Gulbahor|Гульбахор;Gulhayo|Гулхаё;Halima|Халима;Hilola|Хилола;Hulkar|Хулкар;
Husnora|Хуснора;Ikbol|Икбол;Iroda|Ирода;Intizor|Интизор;Jamila|Джамиля;Karomat|Каромат;
Latofat|Латофат;Maftuna|Мафтуна;Mahliyo|Махлиё;Ma’mura|Мамура;Ma’rifat|Маърифат;Marjona|Марджона;
Mastura|Мастура;Matluba|Матлюба;Mo‘tabar|Мутабар;Nasiba|Насиба;Nozima|Нозима;Norgul|Норгуль;
Oydin|Ойдин;Oygul|Айгуль;Parizoda|Паризода;Risolat|Рисолат;Ra’no|Рано;Ruxshona|Рухшона;
Sadoqat|Садокат;Salomat|Саломат;Shahlo|Шахло;Sitora|Ситора;Sohiba|Сохиба;Tamara|Тамара;
To‘xtaxon|Тухтахон;Vasila|Васила;Xosiyat|Хосият;Zebiniso|Зебинисо;Zebo|Зебо;Zilola|Зилола;
Charos|Чарос;Asal|Асал;Bibisora|Бибисора;Charosxon|Чаросхон;E’zoza|Эъзоза;Fazilat|Фазилат;
Guli|Гули;Hayitgul|Хаитгуль;Jumagul|Жумагуль;Lobar|Лобар;Mehriniso|Мехринисо;Nozanin|Нозанин
"""
FIRST_PARTS = """
Nur|Нур;Sher|Шер;Bek|Бек;Abdu|Абду;Mirza|Мирза;Boy|Бай;Tosh|Таш;Gul|Гуль;Dil|Диль;Oy|Ой;Jon|Джан;
Xol|Хол;Nor|Нор;Bobo|Бабо;Er|Эр;Qul|Кул;Shoh|Шах;Hoji|Ходжи;Eron|Эрон;Qurbon|Курбан;Ro‘zi|Рузи;
Hayit|Хаит;Jo‘ra|Джура;Do‘st|Дуст;Ota|Ата;Xudoy|Худай;Egam|Эгам;Alla|Алла;Mamat|Мамат;Suyun|Суюн
"""
MALE_PARTS = """
ali|али;mat|мат;murod|мурад;nazar|назар;qul|кул;mamat|мамат;niyoz|нияз;bek|бек;boy|бай;
jon|джон;berdi|берды;zod|зод;muhammad|мухаммад;vali|вали;xo‘ja|ходжа;mo‘min|мумин;yor|яр
"""
FEMALE_PARTS = """
noza|ноза;nora|нора;oy|ой;bahor|бахор;sanam|санам;xon|хон;bonu|бону;shoda|шода;jahon|жахон
"""
KARAKALPAK = """
Álisher|Алишер|Әлишер;Ájiniyaz|Ажинияз|Әжинияз;Berdaq|Бердах|Бердақ;Dáwletbay|Давлетбай|Дәўлетбай;
Qıdırbay|Кидирбай|Қыдырбай;Óteniyaz|Утенияз|Өтенияз;Sársenbay|Сарсенбай|Сәрсенбай;
Tańirbergen|Танирберген|Тәңирберген;Aytmurat|Айтмурат|Айтмурат;Ámet|Амет|Әмет;
Jollıbay|Жоллыбай|Жоллыбай;Paraxat|Парахат|Парахат;Ǵayratdin|Гайратдин|Ғайратдин;
Biysenbay|Бисенбай|Бийсенбай;Qallıbek|Каллибек|Қаллыбек;Muratbay|Муратбай|Муратбай
"""  # Karakalpak Latin of 2016|Russian|Karakalpak Cyrillic.
KARAKALPAK_FEMALE = """
Gúlayım|Гулайым|Гүлайым;Aysánem|Айсанем|Айсәнем;Periyzat|Перизат|Перийзат;Zamira|Замира|Замира;
Jumagúl|Жумагуль|Жумагүл;Aqshagúl|Акшагуль|Ақшагүл;Dámegúl|Дамегуль|Дәмегүл;Nawrız|Наврыз|Наўрыз;
Bibigúl|Бибигуль|Бибигүл;Ótegúl|Утегуль|Өтегүл;Ayparsha|Айпарша|Айпарша;Gúlnaz|Гульназ|Гүлназ
"""
TWINS = [
    ("Hasan|Хасан", "Husan|Хусан"), ("Fotima|Фатима", "Zuhra|Зухра"),
    ("Hasanboy|Хасанбой", "Husanboy|Хусанбой"), ("Dilnoza|Дильноза", "Dilfuza|Дильфуза"),
    ("Nozima|Нозима", "Nozila|Нозила"), ("Umid|Умид", "Umida|Умида"),
    ("Qodir|Кадыр", "Nodir|Надир"), ("Aziz|Азиз", "Aziza|Азиза"),
    ("Zarina|Зарина", "Karina|Карина"),
    ("Olim|Алим", "Odil|Адыл"), ("Salim|Салим", "Halim|Халим"),
    ("Shahlo|Шахло", "Shahnoza|Шахноза"),
    ("Anvar|Анвар", "Asqar|Аскар"), ("Elyor|Эльёр", "Eldor|Эльдор"), ("Rahim|Рахим", "Karim|Карим"),
]  # fmt: skip  # Pairs of names that parents give to twins, many but a letter apart.
DISTRICTS = """
Yunusobod|Юнусабад;Chilonzor|Чиланзар;Mirzo Ulug‘bek|Мирзо Улугбек;Sergeli|Сергели;Olmazor|Алмазар;
Yakkasaroy|Яккасарай;Uchtepa|Учтепа;Mirobod|Мирабад;Bektemir|Бектемир;Yashnobod|Яшнабад;
Shayxontohur|Шайхантахур;Qibray|Кибрай;Zangiota|Зангиата;Chirchiq|Чирчик;Angren|Ангрен;Bo‘ka|Бука;
Samarqand|Самарканд;Urgut|Ургут;Jomboy|Джамбай;Kattaqo‘rg‘on|Каттакурган;Buxoro|Бухара;
G‘ijduvon|Гиждуван;Kogon|Каган;Navoiy|Навои;Zarafshon|Зарафшан;Qarshi|Карши;Shahrisabz|Шахрисабз;
Kitob|Китаб;Termiz|Термез;Denov|Денау;Sherobod|Шерабад;Andijon|Андижан;Asaka|Асака;Xonobod|Ханабад;
Namangan|Наманган;Chust|Чуст;Pop|Пап;Farg‘ona|Фергана;Marg‘ilon|Маргилан;Qo‘qon|Коканд;Rishton|Риштан;
Guliston|Гулистан;Yangiyer|Янгиер;Jizzax|Джизак;Zomin|Заамин;Urganch|Ургенч;Xiva|Хива;Nukus|Нукус;
Beruniy|Беруни;To‘rtko‘l|Турткуль;Qo‘ng‘irot|Кунград;Mo‘ynoq|Муйнак;Chimboy|Чимбай;Taxtako‘pir|Тахтакупыр
"""
PHONE_CODES = ("90", "91", "93", "94", "95", "97", "98", "99", "33", "88", "77", "50")
NEIGHBOURS = {
    "a": "sqz", "b": "vn", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo",
    "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "wa", "r": "et",
    "s": "ad", "t": "ry", "u": "yi", "v": "cb", "x": "zc", "y": "tu", "z": "x",
    "а": "вп", "б": "ью", "в": "ыа", "г": "нш", "д": "лж", "е": "кн", "ж": "дэ", "з": "щх",
    "и": "мт", "к": "уе", "л": "од", "м": "си", "н": "ег", "о": "рл", "п": "ар", "р": "по",
    "с": "чм", "т": "иь", "у": "цк", "ф": "йы", "х": "зъ", "ч": "яс", "ш": "гщ", "э": "ж",
}  # fmt: skip  # Keys that lie beside each other on both keyboards.


def pairs(text: str) -> list[tuple[str, ...]]:
    """The entries of a pool, each as its spellings."""
    return [tuple(entry.strip().split("|")) for entry in text.replace("\n", "").split(";")]
