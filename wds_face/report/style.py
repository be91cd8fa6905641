"""How a report looks, by daylight and in the dark, on a wide screen and on a narrow one."""

STYLE = """
:root{color-scheme:light dark;
--paper:#f6f5f1;--card:#fff;--ink:#1f2328;--soft:#646a73;--line:#e3e1da;--grid:#eeece6;
--first:#2f6fde;--second:#a9c3ee;--third:#d3a15a;--mark:#c2410c;
--good:#15803d;--good-paper:#e4f3e8;--note:#2f6fde;--note-paper:#e6eefb;--warn:#b45309;--warn-paper:#fbeeda;
--shade:0 1px 2px rgb(0 0 0/.05)}
@media screen and (prefers-color-scheme:dark){:root{
--paper:#101216;--card:#181b21;--ink:#e7e9ec;--soft:#9aa1ac;--line:#2a2f38;--grid:#242931;
--first:#6ba0f7;--second:#3a5788;--third:#a97b3c;--mark:#f0955f;
--good:#5fcf8a;--good-paper:#15291d;--note:#7fb0ff;--note-paper:#16243c;--warn:#f0b35f;--warn-paper:#33260f;
--shade:none}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums}
header,main,footer{max-width:1200px;margin:0 auto;padding:0 24px}
header{padding-top:36px}
h1{font-size:34px;line-height:1.15;margin:2px 0 8px;letter-spacing:-.02em;overflow-wrap:anywhere}
h2{font-size:21px;line-height:1.25;margin:0 0 4px;letter-spacing:-.01em}
h3{font-size:14px;line-height:1.35;margin:0;font-weight:650}
p{margin:0}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.over{color:var(--soft);font-size:13px;font-weight:600}
.where{display:flex;flex-wrap:wrap;align-items:baseline;gap:2px 18px;color:var(--soft);font-size:13.5px}
nav{display:flex;flex-wrap:wrap;gap:6px 20px;margin:20px 0 0;padding:10px 0;border-top:1px solid var(--line)}
nav a{color:var(--ink);text-decoration:none;font-size:13.5px;font-weight:550}
nav a:hover{color:var(--first);text-decoration:underline;text-underline-offset:4px}
section{margin:52px 0 0;scroll-margin-top:16px}
.lead{color:var(--soft);max-width:78ch;margin:0 0 16px}
h2+.grid{margin-top:14px}
.tiles{display:flex;flex-wrap:wrap;gap:1px;margin:6px 0 0;
background:var(--line);border:1px solid var(--line);border-radius:12px;overflow:hidden;box-shadow:var(--shade)}
.tile{flex:1 1 190px;background:var(--card);padding:14px 18px 15px}
.tile dt{color:var(--soft);font-size:13px;font-weight:600}
.tile dd{margin:0}
.tile b{display:block;font-size:27px;line-height:1.25;letter-spacing:-.02em;font-weight:680}
.tile dd span{color:var(--soft);font-size:12.5px;line-height:1.35;display:block}
.findings{list-style:none;margin:16px 0 0;padding:0;columns:2 430px;column-gap:32px}
.findings li{display:flex;gap:10px;font-size:14px;line-height:1.45;break-inside:avoid;padding-bottom:9px}
.sign{flex:none;width:21px;height:21px;border-radius:50%;display:grid;place-items:center;font-size:12px;
font-weight:750;
color:var(--note);background:var(--note-paper)}
.is-good .sign{color:var(--good);background:var(--good-paper)}
.is-warn .sign{color:var(--warn);background:var(--warn-paper)}
.grid{display:flex;flex-wrap:wrap;gap:16px}
.grid>*{flex:1 1 min(100%,350px)}
.grid.narrow>*{flex-basis:min(100%,250px)}
.grid>.wide{flex-basis:100%}
.stack{display:flex;flex-direction:column;gap:16px;min-width:0}
.stack .card:last-child{flex:1}
.card{margin:0;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:15px 18px 14px;
min-width:0;
display:flex;flex-direction:column;box-shadow:var(--shade)}
.note{color:var(--soft);font-size:12.5px;line-height:1.45}
.card .note{margin-top:auto;padding-top:8px}
.empty{color:var(--soft);padding:18px 0}
svg{display:block}
.chart{overflow:visible;font-size:11.5px}
.columns{width:calc(100% - 44px);margin:34px 0 0 44px}
.rows{width:calc(100% - 66px);margin:8px 0 0 66px}
.labelled .rows{width:calc(100% - 112px);margin-left:112px}
.chart text{fill:var(--ink)}
.chart .tick,.chart .name{fill:var(--soft)}
.chart .value{font-size:11px}
.chart .label{fill:var(--mark);font-weight:600}
.axis{stroke:var(--soft);stroke-opacity:.55}
.line{stroke:var(--grid)}
.mark{stroke:var(--mark);stroke-width:1.5;stroke-dasharray:3 3}
.hit{fill:transparent}
.fill{fill:var(--first)}
.columns .fill{stroke:var(--card);stroke-width:1}
.second.fill{fill:var(--second)}
.third.fill{fill:var(--third)}
.bar:hover .fill{filter:brightness(1.18)}
.bar:hover .hit{fill:var(--soft);fill-opacity:.1}
.legend{display:flex;gap:16px;font-size:12.5px;color:var(--soft);margin-top:4px}
.legend span{display:flex;align-items:center;gap:6px}
.legend i{width:11px;height:11px;border-radius:3px;background:var(--first)}
.legend .second{background:var(--second)}
.facts{border-collapse:collapse;width:100%;font-size:13px;line-height:1.4;margin-top:6px}
.facts th,.facts td{text-align:left;vertical-align:baseline;padding:5px 0;border-top:1px solid var(--grid);
font-weight:400}
.facts tr:first-child>*{border-top:0}
.facts th{color:var(--soft);padding-right:18px;white-space:nowrap}
.facts .figure{white-space:nowrap;font-weight:600;padding-right:14px;overflow-wrap:anywhere}
.facts td:last-child{color:var(--soft)}
.terms{display:grid;grid-template-columns:repeat(auto-fill,minmax(120px,1fr));gap:10px 18px;margin:8px 0 0}
.terms dt{color:var(--soft);font-size:12.5px;line-height:1.35}
.terms dd{margin:0;font-size:13.5px;font-weight:600;overflow-wrap:anywhere;line-height:1.35}
.scroll{overflow-x:auto;margin-top:8px}
.matrix{border-collapse:separate;border-spacing:2px;font-size:12.5px;width:100%}
.matrix th{font-weight:500;color:var(--soft);padding:2px 5px;text-align:center}
.matrix tbody th,.matrix thead tr:last-child th:first-child{text-align:right}
.matrix td{text-align:center;border-radius:5px;padding:4px 2px;min-width:30px;color:var(--soft);
background:var(--grid)}
.matrix .once{color:var(--good);background:var(--good-paper);font-weight:650}
.matrix .figure,.matrix thead th:last-child{text-align:right;background:none;padding-left:8px}
.shelf{margin-top:22px}
.shelf h3{display:inline-block;margin-right:10px}
.shelf>.note{display:inline}
.thumbs{display:grid;gap:10px;grid-template-columns:repeat(12,1fr);margin-top:8px}
.thumbs figure{margin:0;min-width:0}
.thumbs img{display:block;width:100%;height:auto;aspect-ratio:1;object-fit:contain;border-radius:6px;
background:var(--grid)}
figcaption{min-width:0}
.thumbs figcaption{font-size:11.5px;line-height:1.35;color:var(--soft);margin-top:4px;
white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.thumbs{position:relative}
.place{display:none;position:absolute;left:0;right:0;z-index:3;margin-top:4px;padding:8px 12px;border-radius:8px;
background:var(--ink);color:var(--paper);font-size:12.5px;line-height:1.4;overflow-wrap:anywhere}
.thumbs figure:hover .place,.thumbs figure:focus .place{display:block}
.thumbs figure:focus{outline:2px solid var(--first);outline-offset:2px;border-radius:6px}
.thumbs b{display:block;color:var(--ink);font-weight:600;overflow:hidden;text-overflow:ellipsis}
.list{margin:6px 0 0;padding-left:20px;font-size:13px}
input[name=view]{position:absolute;opacity:0;pointer-events:none}
.switch{display:inline-flex;background:var(--grid);border:1px solid var(--line);border-radius:9px;padding:3px;
position:sticky;top:10px;z-index:2}
.switch label{padding:5px 14px;border-radius:6px;font-size:13px;font-weight:550;color:var(--soft);cursor:pointer;
line-height:1.3;text-align:center}
.switch label:hover{color:var(--ink)}
#view-before:checked~.switch [for=view-before],#view-after:checked~.switch [for=view-after],
#view-masks:checked~.switch [for=view-masks]{background:var(--card);color:var(--ink);
box-shadow:0 1px 2px rgb(0 0 0/.18)}
#view-before:focus-visible~.switch [for=view-before],#view-after:focus-visible~.switch [for=view-after],
#view-masks:focus-visible~.switch [for=view-masks]{outline:2px solid var(--first);outline-offset:1px}
.sheet{margin-top:16px}
.sheet h3{margin-bottom:8px}
.sheet h3 span{font-weight:400;color:var(--soft);margin-left:8px}
.strips{display:grid;gap:12px 16px;grid-template-columns:repeat(4,1fr)}
.strips figure{margin:0;min-width:0}
.layers{position:relative;border-radius:7px;overflow:hidden;background:var(--grid)}
@media (hover:hover) and (min-width:901px){.strips .layers{transition:transform .12s .15s}
.strips figure:hover .layers{transform:scale(1.6);position:relative;z-index:1;box-shadow:0 6px 24px rgb(0 0 0/.35)}
.strips figure:nth-child(4n+1) .layers{transform-origin:0 50%}.strips figure:nth-child(4n) .layers{
transform-origin:100% 50%}
}
.layers img{display:block;width:100%;height:auto}
.layers .before,.layers .over{position:absolute;inset:0;visibility:hidden}
#view-before:checked~.sheet .before,#view-masks:checked~.sheet .over{visibility:visible}
.strips figcaption{display:flex;gap:8px;justify-content:space-between;font-size:11.5px;line-height:1.35;
margin-top:3px;
color:var(--soft)}
.strips b{font-weight:500;color:var(--ink);white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.orders{display:grid;grid-template-columns:repeat(3,1fr);gap:18px;margin-top:8px}
.order{margin:0;min-width:0}
.order figcaption{font-size:12.5px;margin-top:5px;color:var(--soft);display:flex;justify-content:space-between;
gap:8px}
.order b{font-weight:500}
.order.stream b{color:var(--ink);font-weight:650}
.dots{width:100%;height:170px;background:var(--paper);border-radius:6px;border:1px solid var(--line)}
.dots path{stroke:var(--soft);stroke-width:2.2;stroke-linecap:round;fill:none}
.order.stream path{stroke:var(--first)}
footer{margin-top:60px;padding-top:18px;padding-bottom:40px;color:var(--soft);font-size:13px}
footer pre{margin:6px 0 0;white-space:pre-wrap}
@media (max-width:900px){.strips{grid-template-columns:repeat(2,1fr)}.thumbs{grid-template-columns:repeat(6,1fr)}}
@media (max-width:560px){header,main,footer{padding-left:16px;padding-right:16px}header{padding-top:24px}h1{
font-size:27px}
section{margin-top:40px}.strips{grid-template-columns:1fr}.thumbs{grid-template-columns:repeat(4,1fr);gap:8px}
.orders{grid-template-columns:1fr}.dots{height:110px}.tile{flex-basis:45%;padding:11px 14px}
.tile b{font-size:22px}.switch{display:flex}.switch label{flex:1;padding:6px 6px}.card{padding:13px 14px}}
@media print{*{print-color-adjust:exact;-webkit-print-color-adjust:exact}nav,.switch{display:none}
body{background:#fff;font-size:12px}header,main,footer{padding:0}section{margin-top:28px}
.tiles,.card,.findings li,.thumbs figure,.strips figure,.order{box-shadow:none;break-inside:avoid}
h1,h2,h3,.lead,.shelf>.note{break-after:avoid}
.grid,.stack,.card{display:block}.grid{columns:2;column-gap:16px}.grid>*,.stack>*{margin:0 0 16px}
.grid>.wide{column-span:all}.thumbs{grid-template-columns:repeat(8,1fr)}.strips{grid-template-columns:repeat(4,1fr)}
.thumbs figure .place{display:none}.lead,.shelf,.sheet{break-inside:avoid}
#images,#batches,#shuffle,#plan{break-before:page}#plan .grid{columns:1}}
"""
