//! The most frequent words of languages in the Latin script, question words among them.

use super::Language;

/// Bytes of the longest.
pub(super) const LONGEST: usize = 12;

/// Words of these lists that are in English names and texts as well: alone they say nothing.
pub(super) const AMBIGUOUS: &[&str] = &[
    "age", "ai", "al", "ale", "all", "am", "an", "art", "as", "at", "au", "bao", "bis", "but", "care", "chi",
    "co", "com", "come", "comment", "con", "cum", "da", "dal", "dan", "dari", "de", "dei", "del", "den",
    "der", "des", "di", "die", "do", "door", "dos", "du", "ei", "el", "elle", "en", "er", "era", "es", "est",
    "et", "fi", "for", "fut", "had", "han", "has", "hat", "hay", "he", "her", "hun", "ia", "il", "im", "in",
    "is", "ja", "je", "ki", "kim", "kun", "la", "las", "le", "les", "lo", "los", "lui", "mana", "me", "med",
    "meg", "men", "met", "mi", "mint", "mit", "my", "na", "nas", "ne", "net", "no", "non", "nu", "od", "om",
    "on", "or", "ora", "os", "ou", "over", "par", "para", "pas", "per", "plus", "po", "por", "pour", "prin",
    "que", "qui", "sa", "san", "se", "si", "sig", "sin", "so", "son", "su", "sul", "sur", "tai", "theo",
    "til", "till", "to", "tot", "un", "una", "under", "van", "var", "vi", "von", "vor", "war", "was", "wo",
    "za", "zu",
];

/// Words by language. A word may be in several.
pub(super) const FREQUENT: &[(Language, &str)] = &[
    (
        Language::English,
        "the of or and to in is was for that with as it on by are be from at this which or an his were has \
         have not but had its who what when where why how does did do their they he she you we her been \
         will would can could there than into about other many most much some my your our if so no all \
         more after before also these those between during name whose list tell please give find",
    ),
    (
        Language::German,
        "der die das und ist ein eine einen einem einer eines nicht mit von zu zur zum den dem des im in \
         auf für sich auch als wie wer was wann wo warum welche welcher welches welchen wird wurde wurden \
         werden war waren sind hat haben bei aus nach über durch oder aber nur noch vor bis unter er sie \
         es ich wir sein seine ihre kann dass nennen an so wem wessen woher wohin wieviel",
    ),
    (
        Language::Dutch,
        "de het een en van is dat die in op te zijn met voor niet aan er om ook als bij door naar uit \
         over maar nog wordt werd werden was waren heeft hebben had dit deze wie wat waar wanneer waarom \
         hoe welke welk zij hij hun geen tot kan meer",
    ),
    (
        Language::Danish,
        "og det en et den til er som på de med for af at ikke der var han hun har blev efter men om ved \
         fra eller hvad hvem hvor hvornår hvorfor hvordan hvilken hvilket også kan blive deres være",
    ),
    (
        Language::Norwegian,
        "og det en et den til er som på de med for av at ikke var han hun har ble etter men om ved fra \
         eller hva hvem hvor når hvorfor hvordan hvilken hvilket også kan bli deres være",
    ),
    (
        Language::Swedish,
        "och det en ett den till är som på de med för av att inte var han hon har blev efter men om vid \
         från eller vad vem när varför hur vilken vilket vilka också kan bli deras vara sin sig under där \
         då detta",
    ),
    (
        Language::Finnish,
        "ja on oli ei se että hän ne joka jotka kun mutta myös kuin tai sen ovat olivat ole mikä kuka \
         missä milloin miksi miten mitä tämä sekä jossa hänen noin vuonna",
    ),
    (
        Language::Hungarian,
        "az és hogy nem is egy ez volt azt mint meg el de csak ki mi hol mikor miért hogyan milyen melyik \
         ezt van voltak lett után által között vagy még már",
    ),
    (
        Language::Polish,
        "na do nie się jest to że od za po jak oraz przez był była było były który która które co kto \
         gdzie kiedy dlaczego ile jaki jaka jakie dla ze są ale jego jej roku",
    ),
    (
        Language::French,
        "le la les de des du un une et est en à au aux que qui dans pour par sur avec ne pas il elle ils \
         sont été était ce cette ces son sa ses se plus ou où quand comment pourquoi quel quelle quels \
         quelles combien quoi leur mais comme fut ont qu être fait",
    ),
    (
        Language::Spanish,
        "el la los las de del en que un una es por con para no se su sus al lo como más fue era son qué \
         quién quiénes cuándo dónde cómo cuál cuáles cuánto cuántos cuántas pero también entre este esta \
         ha han ser fueron desde sobre",
    ),
    (
        Language::Portuguese,
        "os as de do da dos das em no na nos nas que um uma é por com para não se seu sua seus ao à como \
         mais foi era são ou qual quais quem quando onde quanto quantos quantas porque mas também entre \
         este esta pelo pela ser foram até sobre",
    ),
    (
        Language::Italian,
        "il lo la gli le di del della dei delle in nel nella che un una è per con non si su da dal dalla \
         al alla come più fu era sono chi cosa quando dove perché quale quali quanto quanti quante ma \
         anche questo questa suo sua essere stato dell nell all ha sull dall",
    ),
    (
        Language::Romanian,
        "și de la în din al ale cu pe care un este pentru nu se mai sau că ce cine când unde cum cât câte \
         câți fost era sunt au prin după între lui lor sa său ca dar ei fi",
    ),
    (
        Language::Turkish,
        "ve bir bu da de ile için olarak olan en çok gibi daha ne kim nerede zaman nasıl neden hangi kaç \
         ise sonra kadar değil var olduğu tarafından göre mi mı mu mü nedir kimdir nereye niçin her ya",
    ),
    (
        Language::Indonesian,
        "yang dan di dari ini itu dengan untuk pada adalah ke dalam tidak oleh sebagai juga atau akan \
         telah karena mereka ia apa apakah siapa siapakah kapan kapankah mana dimana berapa berapakah \
         mengapa bagaimana bagaimanakah secara para dia tersebut seorang nama",
    ),
    (
        Language::Vietnamese,
        "của và là các có được trong cho một những với không người này đã khi từ ở đến về như vào ra gì \
         ai nào đâu bao sao nhiêu tại trên sau cũng để năm theo bị hay thì",
    ),
];
